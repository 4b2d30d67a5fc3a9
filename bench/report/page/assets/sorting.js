// --- sorting: rows of any table by one of its columns ---------------------------------------------------

/** What orders two keys: numbers by size, texts as people do (2 before 10). Nothing comes last, either way. */
function order(a, b, downwards) {
  if (a === null || b === null) return (a === null) - (b === null);
  const difference = typeof a === "number" && typeof b === "number" ? a - b || 0 : collator.compare(a, b);
  return downwards ? -difference : difference;
}

/**
 * Make a heading sort its table's body by key(entry): numbers from large to small at first, texts from a to z.
 * Each row of the body holds its entry.
 */
function sortable(heading, words, key) {
  const press = () => {
    const body = heading.closest("table").tBodies[0];
    const before = heading.getAttribute("aria-sort");
    const first = [...body.rows].some((row) => typeof key(row.entry) === "string") ? "ascending" : "descending";
    sort(heading, key, before === null ? first : before === "ascending" ? "descending" : "ascending");
  };
  heading.append(element("button", { type: "button", class: "sort", onclick: press }, words));
  return heading;
}

function sort(heading, key, direction) {
  const table = heading.closest("table");
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  const keyed = [...table.tBodies[0].rows].map((row) => [key(row.entry), row]);
  keyed.sort(([a], [b]) => order(a, b, direction === "descending"));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}
