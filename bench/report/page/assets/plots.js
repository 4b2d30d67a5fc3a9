// --- plots: quality against what it costs, and against the level, of what the filter leaves ---------------

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

/** What the plots' choices stand at; a choice that the filter no longer leaves gives way to the first that it does. */
const plotted = { table: "", column: "", cost: "seconds", metric: "psnr_db", less: null };

function makePlots() {
  NARROW.addEventListener("change", drawPlots);
  const names = { table: "Table", column: "Data set and level", cost: "Cost", metric: "Quality", less: "By level: less that of" };
  for (const [choice, words] of Object.entries(names)) {
    const select = element("select", { id: `plot-${choice}`, onchange: (event) => choosePlot(choice, event.target.value) });
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
  const name = offer("column", columns.map((column) => [column.name, column.name]), fullest.name);
  const column = columns.find((one) => one.name === name);
  const costs = Object.keys(COSTS).filter((cost) => columns.some((one) => points(table, one, cost).length));
  const metric = offer("metric", Object.entries(METRICS), "psnr_db");
  const cost = costs.length ? offer("cost", costs.map((one) => [one, COSTS[one]]), costs[0]) : offer("cost", [], "");
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

// --- against costs ---------------------------------------------------------------------------------------

function drawCosts(table, column, cost, metric) {
  const all = points(table, column).filter(({ cell }) => Number.isFinite(number(cell[metric])));
  const both = all.filter(({ cell }) => cell[cost] > 0);
  const seen = new Set(typical(both.map(({ cell }) => cell[metric])));
  const these = both.filter(({ cell }) => seen.has(cell[metric]));
  const title = `${METRICS[metric].split(",")[0]} against ${COSTS[cost] || "cost"}, ${column.name}`;
  if (these.length === 0) return [element("figcaption", {}, title), element("p", { class: "hint" }, "No restorer has both here.")];
  const xScale = logScale(these.map(({ cell }) => cell[cost]), FRAME.left, FRAME.width - FRAME.right);
  const yScale = linearScale(these.map(({ cell }) => cell[metric]), FRAME.height - FRAME.bottom, FRAME.top);
  const marks = these.map(({ row, cell }) => ({ row, cell, x: xScale.at(cell[cost]), y: yScale.at(cell[metric]) }));
  const fronts = paretoFronts(marks, OF_ONE_DEVICE.includes(cost));
  const onFront = new Set(fronts.flat());
  const svg = framed(title, xScale, yScale, COSTS[cost], METRICS[metric]);
  svg.append(...fronts.map((front) => drawing("path", { class: "front", d: staircase(front) })));
  const name = namer(table, all.map(({ row }) => row));
  const open = ({ row, cell }) => showDetails(`${nameOf(table, row)}: ${column.name}`, table, [cell]);
  for (const mark of marks) svg.append(point(mark, name(mark.row), onFront.has(mark), cost, () => open(mark)));
  svg.append(...labels(marks));
  const without = all.filter((one) => !both.includes(one)).map(({ row }) => name(row));
  const far = both.filter((one) => !these.includes(one)).map(({ row, cell }) => `${name(row)} (${cell.text})`);
  return [
    element("figcaption", {}, title),
    svg,
    legend(marks, cost),
    listed(`Without ${COSTS[cost]}`, without),
    listed("Far from all others, and not drawn", far),
  ].filter(Boolean);
}

/** Those with no better one that costs less: of each device where costs of two devices cannot be held together. */
function paretoFronts(marks, byDevice) {
  const groups = byDevice ? unique(marks.map(({ row }) => row.device)) : [null];
  return groups.map((device) => {
    const cheapestFirst = marks.filter(({ row }) => device === null || row.device === device).sort((a, b) => a.x - b.x || a.y - b.y);
    const front = [];
    for (const mark of cheapestFirst) if (front.length === 0 || mark.y < front[front.length - 1].y) front.push(mark);
    return front;
  });
}

function staircase(front) {
  const steps = front.slice(1).map(({ x, y }) => `H${x.toFixed(1)}V${y.toFixed(1)}`);
  return `M${front[0].x.toFixed(1)} ${front[0].y.toFixed(1)}${steps.join("")}`;
}

function point(mark, name, isBest, cost, open) {
  const said = `${name}: ${mark.cell.text}; ${COSTS[cost]} ${short(mark.cell[cost])}`;
  const kind = [isBest ? "best" : "", mark.row.weights === "ours" ? "ours" : ""].join(" ");
  const shape =
    mark.row.device === "cpu"
      ? drawing("circle", { cx: mark.x, cy: mark.y, r: 4.5 })
      : drawing("rect", { x: mark.x - 4, y: mark.y - 4, width: 8, height: 8, transform: `rotate(45 ${mark.x} ${mark.y})` });
  return pressable(drawing("g", { class: `point ${kind}`, "data-restorer": mark.row.restorer }, drawing("title", {}, said), shape), said, open);
}

function pressable(group, said, open) {
  for (const [name, value] of Object.entries({ tabindex: "0", role: "button", "aria-label": said })) group.setAttribute(name, value);
  group.addEventListener("click", open);
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  });
  return group;
}

/** A name beside each point, where there is room for it: right, left, above or below. */
function labels(marks) {
  const taken = marks.map(({ x, y }) => ({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 }));
  const written = [];
  for (const { row, x, y } of [...marks].sort((a, b) => a.y - b.y)) {
    const width = 6.8 * row.restorer.length;
    const places = [
      ["start", x + 9, y + 4],
      ["end", x - 9, y + 4],
      ["middle", x, y - 9],
      ["middle", x, y + 17],
      ["start", x + 5, y - 8],
      ["start", x + 5, y + 16],
      ["end", x - 5, y - 8],
      ["end", x - 5, y + 16],
    ];
    const free = places.find((place) => isFree(boxOf(place, width), taken));
    if (!free) continue;
    taken.push(boxOf(free, width));
    written.push(drawing("text", { class: "name", "text-anchor": free[0], x: free[1], y: free[2] }, row.restorer));
  }
  return written;
}

function boxOf([anchor, x, y], width) {
  const left = x - { start: 0, middle: width / 2, end: width }[anchor];
  return { left, right: left + width, top: y - 10, bottom: y + 3 };
}

function isFree(box, taken) {
  const inside = box.left > FRAME.left && box.right < FRAME.width && box.top > 0 && box.bottom < FRAME.height - FRAME.bottom;
  return inside && !taken.some((one) => box.left < one.right && one.left < box.right && box.top < one.bottom && one.top < box.bottom);
}

function legend(marks, cost) {
  const devices = unique(marks.map(({ row }) => row.device));
  const parts = [OF_ONE_DEVICE.includes(cost) && devices.length > 1 ? "Line: the front of each device" : "Line: the front"];
  if (devices.some((device) => device !== "cpu")) parts.push("diamond: on an accelerator");
  if (marks.some(({ row }) => row.weights === "ours")) parts.push("hollow: weights of ours");
  return element("p", { class: "hint" }, `${parts.join("; ")}.`);
}

function listed(what, names) {
  return names.length ? element("p", { class: "hint" }, `${what}: ${unique(names).join(", ")}.`) : null;
}

// --- against the level -----------------------------------------------------------------------------------

function drawLevels(table, dataset, metric) {
  const title = `${METRICS[metric].split(",")[0]} by ${table.level}, ${dataset}`;
  const columns = table.columns.filter((column) => column.kind === "quality" && column.shown && column.dataset === dataset);
  const lines = shownRows(table).map((row) => ({ row, values: columns.map((column) => levelValue(table, row, column, metric)) }));
  const drawn = lines.filter(({ values }) => values.filter((value) => value !== null).length > 1);
  const whole = drawn.filter(({ values }) => values.every((value) => value !== null));
  const name = namer(table, drawn.map(({ row }) => row));
  const names = whole.map(({ row }) => [name(row), name(row)]);
  const less = offer("less", [["", "none"], ...names], middle(whole) ? name(middle(whole).row) : "");
  if (drawn.length === 0) {
    return [element("figcaption", {}, title), element("p", { class: "hint" }, "No restorer was measured at two levels here.")];
  }
  const base = whole.find(({ row }) => name(row) === less);
  const gained = drawn.map(({ row, values }) => ({ row, values: values.map((value, i) => gain(value, base && base.values[i])) }));
  const yWords = base ? `${METRICS[metric]}, less that of ${less}` : METRICS[metric];
  const numeric = columns.every((column) => typeof column.level === "number");
  const xScale = placedScale(columns, numeric, FRAME.left + 12, FRAME.width - 130);
  const yScale = linearScale(typical(gained.flatMap((line) => line.values).filter((value) => value !== null)), FRAME.height - FRAME.bottom, FRAME.top);
  const svg = framed(title, xScale, yScale, table.level, yWords);
  const ends = gained.map((line, i) => ({
    ...line,
    name: name(line.row),
    hue: i % HUES,
    dashed: i >= HUES,
    at: lineAt(line, columns, xScale, yScale),
  }));
  const clip = drawing("clipPath", { id: "levels-frame" }, drawing("rect", { x: FRAME.left, y: FRAME.top, width: FRAME.width, height: FRAME.height - FRAME.top - FRAME.bottom }));
  svg.append(clip, ...ends.map((line) => drawnLine(table, line)), ...endLabels(ends));
  const far = ends.filter(({ at }) => !at.some(isInFrame)).map((line) => line.name);
  return [element("figcaption", {}, title), svg, listed("Far from all others, and not drawn", far)].filter(Boolean);
}

/** What rows of one plot are called: with the device only where they are of several. */
function namer(table, rows) {
  const several = unique(rows.map((row) => row.device)).length > 1;
  return (row) => (several ? nameOf(table, row) : row.restorer);
}

function isInFrame([, y]) {
  return y >= FRAME.top && y <= FRAME.height - FRAME.bottom;
}

function levelValue(table, row, column, metric) {
  const cell = row.cells[table.columns.indexOf(column)];
  const value = cell.whole ? number(cell[metric]) : null;
  return Number.isFinite(value) ? value : null;
}

function gain(value, base) {
  return value === null ? null : base === undefined ? value : value - base;
}

/** The line in the middle of those that have all levels: less it, the others can be told apart. */
function middle(lines) {
  const mean = ({ values }) => values.reduce((a, b) => a + b, 0) / values.length;
  return [...lines].sort((a, b) => mean(a) - mean(b))[Math.floor(lines.length / 2)];
}

/** The values that an axis has to hold: not those far below all others, as of the noisy picture itself. */
function typical(all) {
  if (all.length < 6) return all;
  const values = [...all].sort((a, b) => a - b);
  const at = (share) => values[Math.round(share * (values.length - 1))];
  const reach = 2 * (at(0.75) - at(0.25));
  return values.filter((value) => value >= at(0.25) - reach && value <= at(0.75) + reach);
}

function lineAt(line, columns, xScale, yScale) {
  return line.values.flatMap((value, i) => (value === null ? [] : [[xScale.at(columns[i]), yScale.at(value)]]));
}

function drawnLine(table, { row, name, at, hue, dashed }) {
  const d = at.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const dots = at.map(([x, y]) => drawing("circle", { cx: x, cy: y, r: 2.5 }));
  const open = () => showDetails(nameOf(table, row), table, measuredCells(row));
  const group = drawing("g", { class: `line hue-${hue}${dashed ? " dashed" : ""}`, "clip-path": "url(#levels-frame)" });
  group.append(drawing("title", {}, name), drawing("path", { d }), ...dots);
  return pressable(group, name, open);
}

/** The lines' names at their right ends, moved apart where they would lie on each other. */
function endLabels(lines) {
  const seen = lines.filter(({ at }) => at.some(isInFrame));
  const step = Math.min(13, (FRAME.height - FRAME.bottom - FRAME.top) / Math.max(1, seen.length));
  const last = (line) => Math.min(line.at[line.at.length - 1][1], FRAME.height - FRAME.bottom);
  let lowest = FRAME.top - step;
  const places = [...seen].sort((a, b) => last(a) - last(b)).map((line) => ({ line, y: (lowest = Math.max(last(line), lowest + step)) }));
  let limit = FRAME.height - FRAME.bottom + 4;
  for (const place of places.reverse()) {
    place.y = Math.min(place.y, limit);
    limit = place.y - step;
  }
  return places.map(({ line, y }) => {
    const [x, from] = line.at[line.at.length - 1];
    const leader = drawing("path", { class: "leader", d: `M${x + 4} ${Math.min(from, FRAME.height - FRAME.bottom).toFixed(1)}L${FRAME.width - 124} ${y.toFixed(1)}` });
    const text = drawing("text", { class: "name", x: FRAME.width - 120, y: y + 4 }, line.name);
    return drawing("g", { class: `hue-${line.hue}` }, leader, text);
  });
}

// --- axes ------------------------------------------------------------------------------------------------

function linearScale(values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(high) * 0.01 || 1) * 0.07;
  [low, high] = [low - margin, high + margin];
  const rough = (high - low) / 6;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * unit >= rough) * unit;
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push([i * step, (i * step).toFixed(digits)]);
  return { at: (value) => from + ((value - low) / (high - low)) * (to - from), ticks };
}

function logScale(values, from, to) {
  const low = Math.log10(Math.min(...values)) - 0.12;
  const high = Math.log10(Math.max(...values)) + 0.3;
  const places = high - low > 3.5 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const place of places) {
      const value = place * 10 ** power;
      if (Math.log10(value) >= low && Math.log10(value) <= high) ticks.push([value, short(value)]);
    }
  }
  return { at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from), ticks };
}

/** Levels that are numbers by their size; others, as Bayer patterns, side by side. */
function placedScale(columns, numeric, from, to) {
  const values = columns.map((column, i) => (numeric ? column.level : i));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const place = (value) => from + ((value - low) / (high - low || 1)) * (to - from);
  return { at: (column) => place(values[columns.indexOf(column)]), ticks: columns.map((column) => [column, column.level_label]) };
}

/** `0.003`, `25`, `4.5M` */
function short(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

function framed(title, xScale, yScale, xWords, yWords) {
  const { width, height, left, right, top, bottom } = FRAME;
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title });
  for (const [value, words] of yScale.ticks) {
    const y = yScale.at(value);
    svg.append(drawing("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y }));
    svg.append(drawing("text", { class: "tick", x: left - 8, y: y + 4, "text-anchor": "end" }, words));
  }
  for (const [value, words] of xScale.ticks) {
    const x = xScale.at(value);
    svg.append(drawing("line", { class: "grid", x1: x, x2: x, y1: top, y2: height - bottom }));
    svg.append(drawing("text", { class: "tick", x, y: height - bottom + 18, "text-anchor": "middle" }, words));
  }
  svg.append(drawing("text", { class: "axis", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, xWords));
  const middleOfY = (top + height - bottom) / 2;
  svg.append(drawing("text", { class: "axis", transform: `translate(13 ${middleOfY}) rotate(-90)`, "text-anchor": "middle" }, yWords));
  return svg;
}
