// --- pictures: the same place of the same picture in every pane ---------------------------------------------

const ZOOMS = [1, 2, 4, 8, 16];
const ERRORS = [8, 16, 32, 64];
const PANES = ["both", "clean", "degraded", "left", "right"];
const FIRE = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/** What the viewer stands at. zoom 0: the whole picture; x, y: the picture's pixel in the middle of each pane. */
const view = { scene: null, left: null, right: null, zoom: 0, x: 0, y: 0, split: 0.5, swapped: false, errors: 0 };
const viewer = { panes: {}, width: 1, height: 1, round: 0 };

function makePictures() {
  for (const [i, scene] of page.scenes.entries()) {
    const of = scene.restored[0].record;
    Object.assign(scene, { dataset: told("dataset_label", of), level: told("level_label", of), id: String(i) });
    const apart = ["task", "protocol"].filter((word) => unique(page.scenes.map((one) => one[word])).length > 1);
    scene.name = [`${scene.dataset}/${told("image", of)} ${scene.level}`, ...apart.map((word) => scene[word])].join(", ");
  }
  find("picture-notes").append(...page.left_out.map((line) => element("span", {}, line, element("br"))));
  if (page.scenes.length === 0) return;
  makePictureChoices();
  find("viewer").append(...PANES.map(pane));
  find("viewer").addEventListener("keydown", pictureKey);
  new ResizeObserver(place).observe(find("viewer"));
}

function makePictureChoices() {
  const select = (name, words, change) =>
    element(
      "label",
      { for: `picture-${name}` },
      `${words} `,
      element("select", { id: `picture-${name}`, onchange: (event) => change(event.target.value) }),
    );
  const button = (words, said, press) =>
    element("button", { type: "button", "aria-label": said, onclick: press }, words);
  const split = element("input", {
    type: "range",
    id: "picture-split",
    min: 0,
    max: 1,
    step: 0.005,
    value: 0.5,
    oninput: (event) => divide(Number(event.target.value)),
  });
  find("picture-choices").append(
    select("scene", "Picture", (id) => show({ scene: page.scenes[id] })),
    select("left", "Left", (label) => show({ left: label })),
    select("right", "Right", (label) => show({ right: label })),
    select("errors", "Show", (scale) => show({ errors: Number(scale) })),
    element("label", { for: "picture-split" }, "Divider ", split),
    element(
      "span",
      { class: "zoom" },
      button("−", "Zoom out", () => zoom(-1)),
      element("output", { id: "picture-zoom" }),
      button("+", "Zoom in", () => zoom(1)),
      button("Fit", "Fit the whole picture", () => zoomTo(0)),
      button("Swap", "Swap left and right", swap),
    ),
  );
}

// --- what is chosen ------------------------------------------------------------------------------------------

/** Offer the scenes that the filter leaves, those on which the two restorers differ most first. */
function filterPictures() {
  const fits = (scene) =>
    lets("task", scene.task) &&
    lets("protocol", scene.protocol) &&
    lets("dataset", scene.dataset) &&
    lets("level", scene.level) &&
    restoredOf(scene).length > 0;
  const scenes = page.scenes.filter(fits);
  find("pictures").hidden = page.scenes.length === 0 ? page.left_out.length === 0 : scenes.length === 0;
  document.querySelector("nav a[href='#pictures']").hidden = find("pictures").hidden;
  find("album").hidden = scenes.length === 0;
  if (scenes.length) show({ scene: scenes.includes(view.scene) ? view.scene : scenes[0] }, scenes);
}

function restoredOf(scene) {
  return scene.restored.filter(({ label }) => lets("restorer", label));
}

/** Take what was chosen, and something for what that leaves open: the two best restorers. */
function show(wanted, scenes = shownScenes()) {
  Object.assign(view, wanted);
  const restored = restoredOf(view.scene);
  const labels = restored.map(({ label }) => label);
  const best = [...restored].sort((a, b) => number(psnrOf(b)) - number(psnrOf(a)));
  if (!labels.includes(view.left)) view.left = best[0].label;
  if (!labels.includes(view.right)) view.right = best[Math.min(1, best.length - 1)].label;
  const furthest = [...scenes].sort((a, b) => gap(b) - gap(a));
  options(
    "scene",
    furthest.map((scene) => [scene.id, scene.name + gapWords(scene)]),
    view.scene.id,
  );
  for (const side of ["left", "right"])
    options(
      side,
      labels.map((label) => [label, label]),
      view[side],
    );
  const maps = ERRORS.map((scale) => [String(scale), `error maps up to ${scale} of 255`]);
  options("errors", [["0", "pictures"], ...(view.scene.clean === null ? [] : maps)], String(view.errors));
  draw();
}

function shownScenes() {
  return [...find("picture-scene").options].map((option) => page.scenes[option.value]);
}

function options(name, pairs, value) {
  find(`picture-${name}`).replaceChildren(
    ...pairs.map(([one, words]) => element("option", { value: one, selected: one === value }, words)),
  );
}

function restoredBy(scene, label) {
  return scene.restored.find((one) => one.label === label);
}

function psnrOf({ record }) {
  return told("psnr_db", record);
}

/** How far the two chosen restorers lie apart on a scene, in dB; -1 where one of them is missing. */
function gap(scene) {
  const [a, b] = [restoredBy(scene, view.left), restoredBy(scene, view.right)];
  const difference = a && b ? Math.abs(psnrOf(a) - psnrOf(b)) : -1;
  return Number.isNaN(difference) ? 0 : difference;
}

function gapWords(scene) {
  return gap(scene) > 0 && Number.isFinite(gap(scene)) ? `: ${gap(scene).toFixed(2)} dB apart` : "";
}
