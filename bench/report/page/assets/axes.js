// --- axes of the plots -----------------------------------------------------------------------------------------

function linearScale(values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const least = Math.abs(high) * 0.002 || 1; // what is closer than that is not drawn far apart
  const margin = Math.max((high - low) * 0.07, (least - (high - low)) / 2);
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
  return {
    at: (column) => place(values[columns.indexOf(column)]),
    ticks: columns.map((column) => [column, column.level_label]),
  };
}

/** `0.003`, `25`, `4.5M` */
function short(value) {
  for (const [size, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
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
  svg.append(
    drawing("text", { class: "axis", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, xWords),
  );
  const middleOfY = (top + height - bottom) / 2;
  svg.append(
    drawing(
      "text",
      { class: "axis", transform: `translate(13 ${middleOfY}) rotate(-90)`, "text-anchor": "middle" },
      yWords,
    ),
  );
  return svg;
}
