// --- against the papers: measured beside printed ----------------------------------------------------------

const VERDICTS = {
  reproduced: "reproduced",
  off: "off",
  ours: "measured with our weights",
  "not measured": "not measured",
};

function makePapers() {
  if (page.papers.length === 0) return;
  find("papers").hidden = false;
  document.querySelector("nav a[href='#papers']").hidden = false;
  find("papers").append(
    element(
      "p",
      { class: "hint" },
      "Reproduced: within the tolerance that the paper's file states. Explained: the cause of the difference is known. " +
        "Measured with our weights: no claim about the authors' network.",
    ),
    wide("Verdicts", summaryOfPapers()),
    ...page.papers.map(paperDetails),
  );
}

function wide(name, table) {
  return element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": name }, table);
}

function summaryOfPapers() {
  const heads = ["paper", ...Object.values(VERDICTS)].map((name, i) =>
    element("th", { scope: "col", class: i ? null : "word" }, name),
  );
  const rows = page.papers.map((paper) => {
    const explained = paper.counts.explained ? ` (${paper.counts.explained} explained)` : "";
    const figures = Object.keys(VERDICTS).map(
      (verdict) => `${paper.counts[verdict]}${verdict === "off" ? explained : ""}`,
    );
    const name = element("th", { scope: "row", class: "word" }, paper.name);
    return element("tr", {}, name, ...figures.map((text) => element("td", { class: "figure" }, text)));
  });
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

function paperDetails(paper) {
  const numeric = ["measured", "published", "difference"];
  const shown = paper.headers.map((name, i) => i).filter((i) => paper.rows.some((row) => row[i] !== ""));
  const heads = shown.map((i) => {
    const name = paper.headers[i];
    const key = ({ row }) => (row[i] === "" ? null : numeric.includes(name) ? magnitude(row[i]) : row[i]);
    return sortable(element("th", { scope: "col", class: numeric.includes(name) ? null : "word" }), name, key);
  });
  const rows = paper.rows.map((row, n) => {
    const cells = shown.map((i) => {
      const name = paper.headers[i];
      const kind = numeric.includes(name) ? "figure" : "word";
      return element("td", { class: `${kind} of-${name}`, title: name === "weights" ? row[i] : null }, row[i]);
    });
    const made = element("tr", { "data-verdict": row[paper.headers.indexOf("verdict")] }, ...cells);
    made.entry = { row, facets: paper.facets[n] };
    return made;
  });
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows),
  );
  paper.body = table.tBodies[0];
  paper.summary = element("summary", {});
  const reasons = paper.reasons.map((line) => element("li", {}, line));
  return element(
    "details",
    { class: "paper" },
    paper.summary,
    element("p", { class: "hint" }, `${paper.title}. ${paper.source}.`),
    wide(`${paper.name}, measured beside printed`, table),
    element(
      "details",
      { class: "notes" },
      element("summary", {}, "What was not measured"),
      element("ul", {}, ...reasons),
    ),
  );
}

/** `4,131k` as a number, for sorting. */
function magnitude(text) {
  const factor = { k: 1e3, K: 1e3, M: 1e6 }[text.slice(-1)] || 1;
  return Number(text.replace(/[kKM,]/g, "")) * factor;
}

/** Whether a restorer was chosen by any of its labels: `dncnn`, `dncnn@ours`, `net (a/net.py:Net)`. */
function letsRestorer(name) {
  const labels = [...chosen.restorer];
  return (
    labels.length === 0 ||
    labels.some((label) => label === name || (/^(@| \()/.test(label.replace(name, "")) && label.startsWith(name)))
  );
}

/** Of each paper the figures that the filter leaves; those that are of no data set or level stay. */
function filterPapers() {
  const titles = Object.fromEntries(page.tables.map((table) => [table.task, table.title]));
  for (const paper of page.papers) {
    let n = 0;
    for (const row of paper.body.rows) {
      const { task, dataset, level, restorer } = row.entry.facets;
      const fits =
        lets("task", titles[task]) &&
        (dataset === "" || lets("dataset", dataset)) &&
        (level === "" || lets("level", level));
      row.hidden = !(fits && letsRestorer(restorer));
      n += !row.hidden;
    }
    const all = paper.rows.length;
    paper.summary.textContent = `${paper.name}: ${n === all ? all : `${n} of ${all}`} ${all === 1 ? "figure" : "figures"}, measured beside printed`;
  }
}
