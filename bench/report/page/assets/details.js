// --- details: what is behind a figure -----------------------------------------------------------------------

/** Column of a record -> what it is called, for what all records of a figure mostly share. */
const FACTS = {
  made_on: "device",
  threads: "threads",
  machine: "machine",
  versions: "versions",
  measured_at: "measured",
  weights: "weights",
  weights_sha256: "weights' sha256",
  weights_file: "weights' file",
  params: "parameters",
  macs_per_pixel: "MACs per pixel",
  plugin: "restorer's class",
  code_sha256: "code's sha256",
  restorer_version: "restorer's version",
  revision: "revision",
  bench_version: "bench",
};

/** Column of a record -> heading, how it is written, for what each image has of its own. */
const PER_IMAGE = {
  dataset_label: ["data set", String],
  level_label: ["level", String],
  image: ["image", String],
  repeat: ["repeat", String],
  psnr_db: ["PSNR, dB", (value) => value.toFixed(2)],
  ssim: ["SSIM", (value) => value.toFixed(4)],
  seconds: ["seconds", (value) => String(Number(value.toPrecision(3)))],
  seconds_spread: ["spread, s", (value) => String(Number(value.toPrecision(2)))],
  device_seconds: ["GPU s", (value) => String(Number(value.toPrecision(3)))],
  peak_mib: ["peak MiB", (value) => value.toFixed(0)],
  estimated_level: ["level taken for", String],
  reason: ["remark", String],
  input_sha256: ["input's sha256", (value) => value.slice(0, 12)],
};

/** Open the dialog on cells of one row of a table: their records, and the commands that measure them again. */
function showDetails(title, table, cells) {
  const records = cells.flatMap((cell) => Array.from({ length: cell.n }, (_, i) => cell.first + i));
  const protocol = [
    ["task", table.title],
    ["protocol", `${table.protocol}: ${table.protocol_words}`],
  ];
  find("details-title").textContent = title;
  find("behind").replaceChildren(
    facts([...protocol, ...Object.entries(FACTS).map(([column, name]) => [name, shared(column, records)])]),
    element("h3", {}, "Measure it again"),
    element("pre", { tabindex: "0" }, element("code", {}, cells.map((cell) => cell.command).join("\n"))),
    element("h3", {}, records.length === 1 ? "The image" : `The ${records.length} images`),
    imageTable(records),
  );
  find("details").showModal();
  find("behind").scrollTop = 0;
}

/** What the records hold in a column: one value, or how many of them each of several has. */
function shared(column, records) {
  const values = unique(records.map((i) => told(column, i))).filter((value) => value !== null && value !== "");
  if (column === "measured_at" && values.length > 1) {
    const days = unique(values.sort().map((value) => value.slice(0, 10)));
    return days.length === 1 ? days[0] : `${days[0]} to ${days[days.length - 1]}`;
  }
  return values.map((value) => (typeof value === "number" ? value.toLocaleString("en") : value)).join("\n");
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== "");
  const lines = known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("dl", {}, ...lines);
}

function imageTable(records) {
  const columns = Object.keys(PER_IMAGE).filter((column) => tellsSomething(column, records));
  const headings = columns.map((column) =>
    sortable(element("th", { scope: "col", class: isOfWords(column) ? "word" : null }), PER_IMAGE[column][0], (i) =>
      told(column, i),
    ),
  );
  const rows = records.map((i) => {
    const row = element("tr", {}, ...columns.map((column) => imageCell(column, i)));
    row.entry = i;
    return row;
  });
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...rows),
  );
  return element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Images" }, table);
}

function isOfWords(column) {
  return page.records[column].texts !== undefined;
}

function imageCell(column, i) {
  const value = told(column, i);
  const text = value === null || value === "" ? "–" : PER_IMAGE[column][1](value);
  const failed = column === "psnr_db" && told("status", i) !== "ok";
  const full = column === "input_sha256" ? value : null;
  return element(
    "td",
    { class: isOfWords(column) ? "word" : "figure", title: full },
    failed ? told("status", i) : text,
  );
}

/** Columns that are empty, and those of sets, levels and repeats that are the same throughout, are left out. */
function tellsSomething(column, records) {
  const values = unique(records.map((i) => told(column, i)));
  const names = ["dataset_label", "level_label", "repeat"].includes(column);
  return names ? values.length > 1 : values.some((value) => value !== null && value !== "");
}
