// --- plots against what quality costs ------------------------------------------------------------------------

function drawCosts(table, column, cost, metric) {
  const all = points(table, column).filter(({ cell }) => Number.isFinite(number(cell[metric])));
  const both = all.filter(({ cell }) => cell[cost] > 0);
  const seen = new Set(typical(both.map(({ cell }) => cell[metric])));
  const these = both.filter(({ cell }) => seen.has(cell[metric]));
  const title = `${METRICS[metric].split(",")[0]} against ${COSTS[cost] || "cost"}, ${column.name}`;
  if (these.length === 0)
    return [element("figcaption", {}, title), element("p", { class: "hint" }, "No restorer has both here.")];
  const xScale = logScale(
    these.map(({ cell }) => cell[cost]),
    FRAME.left,
    FRAME.width - FRAME.right,
  );
  const yScale = linearScale(
    these.map(({ cell }) => cell[metric]),
    FRAME.height - FRAME.bottom,
    FRAME.top,
  );
  const marks = these.map(({ row, cell }) => ({ row, cell, x: xScale.at(cell[cost]), y: yScale.at(cell[metric]) }));
  const fronts = paretoFronts(marks, OF_ONE_DEVICE.includes(cost));
  const onFront = new Set(fronts.flat());
  const svg = framed(title, xScale, yScale, COSTS[cost], METRICS[metric]);
  svg.append(...fronts.map((front) => drawing("path", { class: "front", d: staircase(front) })));
  const name = namer(
    table,
    all.map(({ row }) => row),
  );
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
    const cheapestFirst = marks
      .filter(({ row }) => device === null || row.device === device)
      .sort((a, b) => a.x - b.x || a.y - b.y);
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
      : drawing("rect", {
          x: mark.x - 4,
          y: mark.y - 4,
          width: 8,
          height: 8,
          transform: `rotate(45 ${mark.x} ${mark.y})`,
        });
  return pressable(
    drawing("g", { class: `point ${kind}`, "data-restorer": mark.row.restorer }, drawing("title", {}, said), shape),
    said,
    open,
  );
}

function pressable(group, said, open) {
  for (const [name, value] of Object.entries({ tabindex: "0", role: "button", "aria-label": said }))
    group.setAttribute(name, value);
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
  const inside =
    box.left > FRAME.left && box.right < FRAME.width && box.top > 0 && box.bottom < FRAME.height - FRAME.bottom;
  return (
    inside &&
    !taken.some((one) => box.left < one.right && one.left < box.right && box.top < one.bottom && one.top < box.bottom)
  );
}

function legend(marks, cost) {
  const devices = unique(marks.map(({ row }) => row.device));
  const parts = [
    "On the line: no other restorer is better and costs less" +
      (OF_ONE_DEVICE.includes(cost) && devices.length > 1 ? ", on the same device" : ""),
  ];
  if (devices.some((device) => device !== "cpu")) parts.push("diamond: on an accelerator");
  if (marks.some(({ row }) => row.weights === "ours")) parts.push("hollow: weights of ours");
  return element("p", { class: "hint" }, `${parts.join("; ")}.`);
}

function listed(what, names) {
  return names.length ? element("p", { class: "hint" }, `${what}: ${unique(names).join(", ")}.`) : null;
}
