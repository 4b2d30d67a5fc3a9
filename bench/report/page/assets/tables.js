// --- tables: a row a restorer, a column a data set and level ---------------------------------------------

/** `30.44 / 0.8619 (2 of 12) ab` in its parts; a text of another form is all in `psnr`. */
const QUALITY = /^(?<psnr>[^ ]+)(?: \/ (?<ssim>[^ ]+))?(?: \((?<note>[^)]*)\))?(?: (?<letters>[a-z]+))?$/;

function shownMetric() {
  return document.querySelector("input[name=shown]:checked").value;
}

function makeTables() {
  find("all-tables").append(...page.tables.map(tableSection));
  find("shown").addEventListener("change", () => {
    find("all-tables").dataset.shown = shownMetric();
    markBest();
  });
}

function tableSection(table, number) {
  const head = element("thead", {}, ...headRows(table));
  const body = element("tbody", {}, ...table.rows.map((row) => tableRow(table, row)));
  const name = `${table.title}, ${table.protocol}`;
  table.drawn = element("table", {}, element("caption", {}, name), head, body);
  const notes = table.footnotes.map((line) => element("li", {}, line));
  table.partly = element("p", { class: "hint", hidden: true }, partlyWords(table));
  table.section = element(
    "section",
    { class: "table", "aria-label": name },
    element(
      "h3",
      {},
      element("span", { class: "title" }, table.title),
      element("span", { class: "protocol", title: table.protocol_words }, table.protocol),
    ),
    element(
      "div",
      { class: "wide", tabindex: "0", role: "region", "aria-label": `${name}, scrolls sideways` },
      table.drawn,
    ),
    table.partly,
    notes.length
      ? element(
          "details",
          { class: "notes", open: notes.length < 4 },
          noteHead(notes.length),
          element("ul", {}, ...notes),
        )
      : null,
  );
  table.section.id = `table-${number}`;
  return table.section;
}

function noteHead(n) {
  return element("summary", {}, n === 1 ? "1 note" : `${n} notes`);
}

function partlyWords(table) {
  const names = table.columns.filter((column) => column.kind === "cost").map((column) => column.name);
  return `${names.join(", ")}: of all data sets and levels of a row, also of those that the filter hides.`;
}

/** Two rows of headings: data sets above their levels; what is of the whole row goes through both. */
function headRows(table) {
  const above = [];
  const below = [];
  for (const [i, column] of table.columns.entries()) {
    const heading = element("th", { scope: "col" });
    if (column.kind === "quality") {
      const last = above[above.length - 1];
      if (last.dataset.set === column.dataset) last.columns.push(column);
      else
        above.push(
          Object.assign(
            element("th", { scope: "colgroup", "data-set": column.dataset }, element("span", {}, column.dataset)),
            { columns: [column] },
          ),
        );
      const words = element(
        "span",
        {},
        element("span", { class: "aside" }, `${column.dataset} `),
        column.level_label,
      );
      below.push(sortable(heading, words, (row) => sortKey(row, i)));
    } else {
      heading.rowSpan = 2;
      heading.classList.toggle("word", column.kind === "word");
      above.push(sortable(heading, column.name, (row) => sortKey(row, i)));
    }
    column.heading = heading;
  }
  table.groups = above.filter((heading) => heading.columns);
  return [element("tr", {}, ...above), element("tr", {}, ...below)];
}

function sortKey(row, i) {
  const cell = row.cells[i];
  if (cell.value !== undefined) return number(cell.value);
  if (cell.psnr_db === undefined) return cell.text === "–" ? null : cell.text;
  return number(shownMetric() === "ssim" ? cell.ssim : cell.psnr_db);
}

function tableRow(table, row) {
  const cells = row.cells.map((cell, i) => tableCell(table, row, cell, table.columns[i]));
  row.drawn = element("tr", {}, ...cells);
  row.drawn.entry = row;
  return row.drawn;
}

function tableCell(table, row, cell, column) {
  if (column.kind === "word")
    return element(column.name === "restorer" ? "th" : "td", wordAttributes(column), cell.text);
  if (cell.text === "–") return element("td", { class: "figure none" }, "–");
  const cells = column.kind === "quality" ? [cell] : measuredCells(row);
  const open = () => showDetails(`${nameOf(table, row)}: ${column.name}`, table, cells);
  const words = column.kind === "quality" ? qualityWords(cell.text) : [cell.text];
  const said = element("span", { class: "aside" }, `${nameOf(table, row)}, ${column.name}: `);
  const drawn = element(
    "td",
    { class: "figure" },
    element("button", { type: "button", onclick: open }, said, ...words),
  );
  drawn.style.setProperty("--letters", mostLetters(table, column));
  return drawn;
}

/** How many letters stand behind a figure of a column at most: all of its figures leave room for so many. */
function mostLetters(table, column) {
  if (column.letters === undefined) {
    const texts = table.rows.map((row) => row.cells[table.columns.indexOf(column)].text);
    column.letters = Math.max(...texts.map((text) => (QUALITY.exec(text)?.groups.letters || "").length));
  }
  return column.letters;
}

function wordAttributes(column) {
  return { class: "word", scope: column.name === "restorer" ? "row" : null };
}

function measuredCells(row) {
  return row.cells.filter((cell) => cell.n);
}

function nameOf(table, row) {
  const tellsDevice = table.columns.some((column) => column.name === "device");
  return tellsDevice ? `${row.restorer} (${row.device})` : row.restorer;
}

function qualityWords(text) {
  const parts = QUALITY.exec(text);
  if (!parts) return [text];
  const { psnr, ssim, note, letters } = parts.groups;
  const some = (name, words) => (words ? element("span", { class: name }, words) : null);
  return [
    element("span", { class: "psnr" }, psnr),
    element("span", { class: "letters" }, letters || ""),
    some("ssim", ssim),
    some("note", note),
  ].filter(Boolean);
}

// --- what of them is shown -------------------------------------------------------------------------------

/** Hide what the filter leaves out: rows and columns that were not chosen, and then those without a figure. */
function filterTables() {
  for (const table of page.tables) filterTable(table);
  const shown = page.tables.filter((table) => !table.section.hidden);
  const rows = shown.flatMap((table) => table.rows.filter((row) => row.shown)).length;
  const all = page.tables.flatMap((table) => table.rows).length;
  find("count").textContent =
    rows === all
      ? `${rows} rows`
      : rows
        ? `${rows} of ${all} rows`
        : "Nothing is left: no row has all that was chosen.";
  find("clear").hidden = Object.values(chosen).every((facet) => facet.size === 0);
  markBest();
}

function filterTable(table) {
  const fits = lets("task", table.title) && lets("protocol", table.protocol);
  const columns = table.columns.map((column) => fits && letsColumn(column));
  for (const row of table.rows) row.shown = letsRow(row) && row.cells.some((cell, i) => cell.n && columns[i]);
  for (const [i, column] of table.columns.entries()) {
    const isEmpty = !table.rows.some((row) => row.shown && row.cells[i].text !== "–");
    column.shown = columns[i] && !isEmpty;
    column.heading.hidden = !column.shown;
  }
  for (const row of table.rows) {
    row.drawn.hidden = !row.shown;
    for (const [i, column] of table.columns.entries()) row.drawn.cells[i].hidden = !column.shown;
  }
  for (const group of table.groups) {
    const n = group.columns.filter((column) => column.shown).length;
    group.hidden = n === 0;
    group.colSpan = n || 1;
  }
  table.section.hidden = !table.rows.some((row) => row.shown);
  table.partly.hidden = !table.columns.some((column) => column.kind === "quality" && !letsColumn(column));
}

/** A figure with the digits that are shown: what cannot be told apart there is as high. */
function asPrinted(value, metric) {
  return Number(number(value).toFixed(metric === "ssim" ? 4 : 2));
}

function letsColumn(column) {
  return column.kind !== "quality" || (lets("dataset", column.dataset) && lets("level", column.level_label));
}

function letsRow(row) {
  return lets("restorer", row.restorer) && lets("weights", row.weights || "none") && lets("device", row.device);
}

/** Bold the highest of each column among what is shown; a figure of some images never ranks. */
function markBest() {
  const metric = shownMetric() === "ssim" ? "ssim" : "psnr_db";
  for (const table of page.tables) {
    for (const [i, column] of table.columns.entries()) {
      if (column.kind !== "quality") continue;
      const value = (row) =>
        row.shown && row.cells[i].whole && row.cells[i][metric] !== null
          ? asPrinted(row.cells[i][metric], metric)
          : null;
      const values = table.rows.map(value).filter((one) => one !== null);
      const best = values.length > 1 ? Math.max(...values) : null;
      for (const row of table.rows) row.drawn.cells[i].classList.toggle("best", best !== null && value(row) === best);
    }
  }
}
