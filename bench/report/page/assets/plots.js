// --- plots: of what the filter leaves ---------------------------------------------------------------------------

const COSTS = {
  seconds: "seconds per image",
  device_seconds: "GPU seconds per image",
  params: "parameters",
  macs_per_pixel: "multiply-accumulates per pixel",
  peak_mib: "peak memory, MiB",
};
const METRICS = { psnr_db: "PSNR, dB", ssim: "SSIM" };
const OF_ONE_DEVICE = ["seconds", "device_seconds", "peak_mib"];
const HUES = 8;
const FRAME = { width: 560, height: 380, left: 58, right: 14, top: 14, bottom: 46 };
const NARROW = window.matchMedia("(max-width: 40rem)");

/** What the choices stand at. One that the filter no longer leaves gives way to the first that it does. */
const plotted = { table: "", column: "", cost: "seconds", metric: "psnr_db", over: null };

function makePlots() {
  NARROW.addEventListener("change", drawPlots);
  const names = {
    table: "Table",
    column: "Data set and level",
    cost: "Cost",
    metric: "Quality",
    over: "Gain over",
  };
  for (const [choice, words] of Object.entries(names)) {
    const select = element("select", {
      id: `plot-${choice}`,
      onchange: (event) => choosePlot(choice, event.target.value),
    });
    find("plot-choices").append(element("label", { for: `plot-${choice}` }, `${words} `, select));
  }
}

function choosePlot(choice, value) {
  plotted[choice] = value;
  drawPlots();
}

/** Offer [value, words] pairs in a select, and give what it stands at: what was chosen, or `first`. */
function offer(choice, pairs, first) {
  const kept = pairs.some(([value]) => value === plotted[choice]) ? plotted[choice] : first;
  find(`plot-${choice}`).replaceChildren(
    ...pairs.map(([value, words]) => element("option", { value, selected: value === kept }, words)),
  );
  return kept;
}

function drawPlots() {
  FRAME.width = NARROW.matches ? 390 : 560;
  const tables = page.tables.filter((table) => !table.section.hidden);
  find("plots").hidden = tables.length === 0;
  if (tables.length === 0) return;
  const largest = tables.reduce((a, b) => (shownRows(b).length > shownRows(a).length ? b : a));
  const pairs = tables.map((table) => [table.section.id, `${table.title}, ${table.protocol}`]);
  const table = tables.find((one) => one.section.id === offer("table", pairs, largest.section.id));
  const columns = table.columns.filter((column) => column.kind === "quality" && column.shown);
  const levels = (column) => columns.filter((one) => one.dataset === column.dataset).length;
  const timed = (column) => points(table, column).length + points(table, column, plotted.cost).length;
  const worth = (column) => timed(column) * (levels(column) > 1 ? 2 : 1);
  const fullest = columns.reduce((a, b) => (worth(b) > worth(a) ? b : a));
  const name = offer(
    "column",
    columns.map((column) => [column.name, column.name]),
    fullest.name,
  );
  const column = columns.find((one) => one.name === name);
  const costs = Object.keys(COSTS).filter((cost) => columns.some((one) => points(table, one, cost).length));
  const metric = offer("metric", Object.entries(METRICS), "psnr_db");
  const cost = costs.length
    ? offer(
        "cost",
        costs.map((one) => [one, COSTS[one]]),
        costs[0],
      )
    : offer("cost", [], "");
  find("costs").replaceChildren(...drawCosts(table, column, cost, metric));
  find("levels").replaceChildren(...drawLevels(table, column.dataset, metric));
}

function shownRows(table) {
  return table.rows.filter((row) => row.shown);
}

/** The rows that a column has a whole figure of, and a cost above zero where one is asked for. */
function points(table, column, cost = null) {
  const i = table.columns.indexOf(column);
  const found = shownRows(table).map((row) => ({ row, cell: row.cells[i] }));
  return found.filter(({ cell }) => cell.whole && (cost === null || cell[cost] > 0));
}
