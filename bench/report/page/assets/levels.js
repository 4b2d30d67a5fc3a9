// --- plots of quality by level -------------------------------------------------------------------------------

/** What papers draw gains over (DnCNN's Fig. 8), where it was measured. */
const BASELINE = "bm3d";

function drawLevels(table, dataset, metric) {
  const columns = table.columns.filter(
    (column) => column.kind === "quality" && column.shown && column.dataset === dataset,
  );
  const lines = shownRows(table).map((row) => ({
    row,
    values: columns.map((column) => levelValue(table, row, column, metric)),
  }));
  const drawn = lines.filter(({ values }) => values.filter((value) => value !== null).length > 1);
  const whole = drawn.filter(({ values }) => values.every((value) => value !== null));
  const name = namer(
    table,
    drawn.map(({ row }) => row),
  );
  const names = whole.map(({ row }) => [name(row), name(row)]);
  const usual = whole.find(({ row }) => row.restorer === BASELINE) || middle(whole);
  const over = offer("over", [["", "none"], ...names], usual ? name(usual.row) : "");
  const base = whole.find(({ row }) => name(row) === over);
  const quality = METRICS[metric].split(",")[0] + (base ? ` gain over ${over}` : "");
  const title = `${quality} by ${table.level}, ${dataset}`;
  if (drawn.length === 0) {
    return [
      element("figcaption", {}, title),
      element("p", { class: "hint" }, "No restorer was measured at two levels here."),
    ];
  }
  const gained = drawn.map(({ row, values }) => ({
    row,
    values: values.map((value, i) => gain(value, base && base.values[i])),
  }));
  const yWords = base ? METRICS[metric].replace(/^\w+/, "$& gain") : METRICS[metric];
  const numeric = columns.every((column) => typeof column.level === "number");
  const xScale = placedScale(columns, numeric, FRAME.left + 12, FRAME.width - 130);
  const yScale = linearScale(
    typical(gained.flatMap((line) => line.values).filter((value) => value !== null)),
    FRAME.height - FRAME.bottom,
    FRAME.top,
  );
  const svg = framed(title, xScale, yScale, table.level, yWords);
  const ends = gained.map((line, i) => ({
    ...line,
    name: name(line.row),
    hue: i % HUES,
    dashed: i >= HUES,
    at: lineAt(line, columns, xScale, yScale),
  }));
  const clip = drawing(
    "clipPath",
    { id: "levels-frame" },
    drawing("rect", {
      x: FRAME.left,
      y: FRAME.top,
      width: FRAME.width,
      height: FRAME.height - FRAME.top - FRAME.bottom,
    }),
  );
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
  const group = drawing("g", {
    class: `line hue-${hue}${dashed ? " dashed" : ""}`,
    "clip-path": "url(#levels-frame)",
  });
  group.append(drawing("title", {}, name), drawing("path", { d }), ...dots);
  return pressable(group, name, open);
}

/** The lines' names at their right ends, moved apart where they would lie on each other. */
function endLabels(lines) {
  const seen = lines.filter(({ at }) => at.some(isInFrame));
  const step = Math.min(13, (FRAME.height - FRAME.bottom - FRAME.top) / Math.max(1, seen.length));
  const last = (line) => Math.min(line.at[line.at.length - 1][1], FRAME.height - FRAME.bottom);
  let lowest = FRAME.top - step;
  const places = [...seen]
    .sort((a, b) => last(a) - last(b))
    .map((line) => ({ line, y: (lowest = Math.max(last(line), lowest + step)) }));
  let limit = FRAME.height - FRAME.bottom + 4;
  for (const place of places.reverse()) {
    place.y = Math.min(place.y, limit);
    limit = place.y - step;
  }
  return places.map(({ line, y }) => {
    const [x, from] = line.at[line.at.length - 1];
    const leader = drawing("path", {
      class: "leader",
      d: `M${x + 4} ${Math.min(from, FRAME.height - FRAME.bottom).toFixed(1)}L${FRAME.width - 124} ${y.toFixed(1)}`,
    });
    const text = drawing("text", { class: "name", x: FRAME.width - 120, y: y + 4 }, line.name);
    return drawing("g", { class: `hue-${line.hue}` }, leader, text);
  });
}
