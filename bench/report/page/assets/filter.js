// --- filter: which rows and columns are shown ------------------------------------------------------------

const FACETS = {
  task: "Task",
  protocol: "Protocol",
  dataset: "Data set",
  level: "Level",
  restorer: "Restorer",
  weights: "Weights",
  device: "Device",
};

/** Facet -> what was chosen of it; nothing chosen stands for all. */
const chosen = Object.fromEntries(Object.keys(FACETS).map((facet) => [facet, new Set()]));

function lets(facet, value) {
  return chosen[facet].size === 0 || chosen[facet].has(value);
}

function facetValues() {
  const rows = page.tables.flatMap((table) => table.rows);
  const columns = page.tables.flatMap((table) => table.columns.filter((column) => column.kind === "quality"));
  const levels = unique(columns.map((column) => column.level_label)).sort(collator.compare);
  return {
    task: unique(page.tables.map((table) => table.title)),
    protocol: unique(page.tables.map((table) => table.protocol)),
    dataset: unique(columns.map((column) => column.dataset)),
    level: levels,
    restorer: unique(rows.map((row) => row.restorer)).sort(collator.compare),
    weights: unique(rows.map((row) => row.weights || "none")),
    device: unique(rows.map((row) => row.device)),
  };
}

/** A drop-down of boxes for each facet that leaves a choice; `changed` is called after each. */
function makeFilter(changed) {
  for (const [facet, values] of Object.entries(facetValues())) {
    if (values.length > 1) find("facets").append(facetBox(facet, values, changed));
  }
  find("filter").addEventListener("reset", () => {
    for (const facet of Object.values(chosen)) facet.clear();
    for (const summary of find("facets").querySelectorAll("summary")) summary.say();
    changed();
  });
  document.addEventListener("click", (event) => closeFacets(event.target.closest(".facet")));
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.activeElement.closest(".facet[open]");
    if (open) open.querySelector("summary").focus();
    if (open) closeFacets(null);
  });
}

function closeFacets(but) {
  for (const open of find("facets").querySelectorAll(".facet[open]")) open.open = open === but;
}

function facetBox(facet, values, changed) {
  const summary = element("summary");
  summary.say = () => {
    const some = [...chosen[facet]];
    const words = some.length === 0 ? "all" : some.length === 1 ? some[0] : `${some.length} of ${values.length}`;
    summary.replaceChildren(element("span", { class: "name" }, `${FACETS[facet]} `), words);
    summary.classList.toggle("narrowed", some.length > 0);
  };
  summary.say();
  const boxes = values.map((value) => {
    const tick = (event) => {
      chosen[facet][event.target.checked ? "add" : "delete"](value);
      summary.say();
      changed();
    };
    return element("label", {}, element("input", { type: "checkbox", value, onchange: tick }), ` ${value}`);
  });
  const group = element("div", { role: "group", "aria-label": FACETS[facet], tabindex: "-1" }, ...boxes);
  return element("details", { class: "facet", "data-facet": facet }, summary, group);
}
