// --- pictures: the same place of the same picture in every pane ---------------------------------------------

const ZOOMS = [1, 2, 4, 8, 16];
const ERRORS = [8, 16, 32, 64];
const PANES = { clean: "Clean", degraded: "Degraded", left: "Left", right: "Right", both: "Left | right" };
const FIRE = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

/** What the viewer stands at. zoom 0: the whole picture; x, y: the picture's pixel in the middle of each pane. */
const view = { scene: null, left: null, right: null, zoom: 0, x: 0, y: 0, split: 0.5, swapped: false, errors: 0 };
const viewer = { panes: {}, width: 1, height: 1, round: 0 };

function makePictures() {
  for (const [i, scene] of page.scenes.entries()) {
    const of = scene.restored[0].record;
    Object.assign(scene, { dataset: told("dataset_label", of), level: told("level_label", of), id: String(i) });
    scene.name = `${scene.dataset}/${told("image", of)}, ${scene.level}, ${scene.task}, ${scene.protocol}`;
  }
  find("picture-notes").append(...page.left_out.map((line) => element("span", {}, line, element("br"))));
  if (page.scenes.length === 0) return;
  makePictureChoices();
  find("viewer").append(...Object.keys(PANES).map(pane));
  find("viewer").addEventListener("keydown", pictureKey);
  new ResizeObserver(place).observe(find("viewer"));
}

function makePictureChoices() {
  const select = (name, words, change) =>
    element("label", { for: `picture-${name}` }, `${words} `, element("select", { id: `picture-${name}`, onchange: (event) => change(event.target.value) }));
  const button = (words, said, press) => element("button", { type: "button", "aria-label": said, onclick: press }, words);
  const split = element("input", { type: "range", id: "picture-split", min: 0, max: 1, step: 0.005, value: 0.5, oninput: (event) => divide(Number(event.target.value)) });
  find("picture-choices").append(
    select("scene", "Picture", (id) => show({ scene: page.scenes[id] })),
    select("left", "Left", (label) => show({ left: label })),
    select("right", "Right", (label) => show({ right: label })),
    select("errors", "Show", (scale) => show({ errors: Number(scale) })),
    element("label", { for: "picture-split" }, "Divider ", split),
    element("span", { class: "zoom" }, button("−", "Zoom out", () => zoom(-1)), element("output", { id: "picture-zoom" }), button("+", "Zoom in", () => zoom(1)), button("Fit", "Fit the whole picture", () => zoomTo(0)), button("Swap", "Swap left and right", swap)),
  );
}

// --- what is chosen ------------------------------------------------------------------------------------------

/** Offer the scenes that the filter leaves, those on which the two restorers differ most first. */
function filterPictures() {
  const fits = (scene) =>
    lets("task", scene.task) && lets("protocol", scene.protocol) && lets("dataset", scene.dataset) && lets("level", scene.level) && restoredOf(scene).length > 0;
  const scenes = page.scenes.filter(fits);
  find("pictures").hidden = page.scenes.length === 0 ? page.left_out.length === 0 : scenes.length === 0;
  document.querySelector("nav a[href='#pictures']").hidden = find("pictures").hidden;
  for (const part of find("pictures").querySelectorAll("#viewer, #picture-choices, .hint:not(#picture-notes)")) part.hidden = scenes.length === 0;
  if (scenes.length) show({ scene: scenes.includes(view.scene) ? view.scene : scenes[0] }, scenes);
}

function restoredOf(scene) {
  return scene.restored.filter(({ label }) => lets("restorer", label));
}

/** Take what was chosen, and something for what that leaves open: the two restorers that lie furthest apart. */
function show(wanted, scenes = shownScenes()) {
  Object.assign(view, wanted);
  const restored = restoredOf(view.scene);
  const labels = restored.map(({ label }) => label);
  const best = [...restored].sort((a, b) => number(psnrOf(b)) - number(psnrOf(a)));
  if (!labels.includes(view.left)) view.left = best[0].label;
  if (!labels.includes(view.right)) view.right = best[best.length - 1].label;
  const furthest = [...scenes].sort((a, b) => gap(b) - gap(a));
  options("scene", furthest.map((scene) => [scene.id, scene.name + gapWords(scene)]), view.scene.id);
  for (const side of ["left", "right"]) options(side, labels.map((label) => [label, label]), view[side]);
  const maps = ERRORS.map((scale) => [String(scale), `error maps, white: ${scale} of 255 or more`]);
  options("errors", [["0", "pictures"], ...(view.scene.clean === null ? [] : maps)], String(view.errors));
  draw();
}

function shownScenes() {
  return [...find("picture-scene").options].map((option) => page.scenes[option.value]);
}

function options(name, pairs, value) {
  find(`picture-${name}`).replaceChildren(...pairs.map(([one, words]) => element("option", { value: one, selected: one === value }, words)));
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
  return gap(scene) > 0 && Number.isFinite(gap(scene)) ? ` (${gap(scene).toFixed(2)} dB apart)` : "";
}

// --- panes -----------------------------------------------------------------------------------------------------

function pane(name) {
  const glass = element("div", { class: "glass" });
  const made = { glass, caption: element("figcaption"), layers: [layer()] };
  if (name === "both") made.layers.push(layer());
  glass.append(...made.layers.map((one) => one.half));
  if (name === "both") glass.append((made.divider = element("div", { class: "divider", "aria-hidden": "true" })));
  glass.addEventListener("pointerdown", (event) => drag(event, event.target === made.divider ? slide : move));
  glass.addEventListener("wheel", wheel, { passive: false });
  viewer.panes[name] = made;
  return element("figure", { class: `pane ${name}` }, glass, made.caption);
}

/** A window as wide as what is shown of a layer, and in it the stage that moves under it. */
function layer() {
  const stage = element("div", { class: "stage" });
  return { stage, half: element("div", { class: "half" }, stage) };
}

/** Put the chosen pictures into the panes. What takes longer than the next choice is dropped. */
async function draw() {
  const round = ++viewer.round;
  const { scene, errors } = view;
  const [left, right] = [restoredBy(scene, view.left), restoredBy(scene, view.right)];
  const loaded = await Promise.all([scene.clean, scene.degraded, left.file, right.file].map(picture));
  if (round !== viewer.round) return;
  const [clean, degraded, a, b] = loaded;
  const first = clean || a;
  Object.assign(viewer, { width: first.naturalWidth, height: first.naturalHeight });
  if (view.zoom === 0) Object.assign(view, { x: viewer.width / 2, y: viewer.height / 2 });
  const seen = (image) => (errors && clean ? errorMap(image, clean, errors) : copy(image));
  fill("clean", [copy(clean)], "Clean");
  fill("degraded", [copy(degraded)], "Degraded");
  fill("left", [seen(a)], words(left));
  fill("right", [seen(b)], words(right));
  fill("both", [seen(b), seen(a)], "");
  viewer.panes.clean.glass.parentElement.hidden = !clean;
  viewer.panes.degraded.glass.parentElement.hidden = !degraded;
  find("viewer").classList.toggle("errors", Boolean(errors && clean));
  place();
}

function words({ label, record }) {
  const [psnr, ssim] = [told("psnr_db", record), told("ssim", record)];
  const figures = [psnr === null ? "" : `${psnr.toFixed(2)} dB`, ssim === null ? "" : ssim.toFixed(4)].filter(Boolean);
  return `${label}: ${figures.join(" / ")}`;
}

function fill(name, images, caption) {
  const made = viewer.panes[name];
  for (const [i, one] of made.layers.entries()) one.stage.replaceChildren(...(images[i] ? [images[i]] : []));
  made.caption.textContent = caption;
  made.glass.setAttribute("role", "img");
  made.glass.setAttribute("aria-label", caption || `${view.left} left of the divider, ${view.right} right of it`);
}

const decoded = new Map();

/** A file of the page as a decoded picture; null for none. */
function picture(number) {
  if (number === null) return Promise.resolve(null);
  if (!decoded.has(number)) {
    const image = new Image();
    image.src = `data:image/png;base64,${find(`file-${number}`).textContent}`;
    decoded.set(number, image.decode().then(() => image));
  }
  return decoded.get(number);
}

function copy(image) {
  if (image === null) return null;
  const made = element("img", { alt: "", draggable: "false" });
  made.src = image.src;
  return made;
}

function pixels(image) {
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return [canvas, context, context.getImageData(0, 0, canvas.width, canvas.height)];
}

/** The mean over the colours of |restored - clean|, black for none and white for `scale` of 255 or more. */
function errorMap(image, clean, scale) {
  const [canvas, context, { data }] = pixels(image);
  const [, , { data: wanted }] = pixels(clean);
  if (data.length !== wanted.length) return copy(image);
  const map = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < data.length; i += 4) {
    const error = (Math.abs(data[i] - wanted[i]) + Math.abs(data[i + 1] - wanted[i + 1]) + Math.abs(data[i + 2] - wanted[i + 2])) / 3;
    map.data.set([...fire(Math.min(1, error / scale)), 255], i);
  }
  context.putImageData(map, 0, 0);
  return canvas;
}

function fire(share) {
  const at = share * (FIRE.length - 1);
  const low = Math.min(FIRE.length - 2, Math.floor(at));
  return FIRE[low].map((value, i) => value + (at - low) * (FIRE[low + 1][i] - value));
}

// --- where the panes look ------------------------------------------------------------------------------------

/** Move all stages to where the view stands, and the divider with its two halves. */
function place() {
  const { glass } = viewer.panes.left;
  if (!glass.clientWidth) return;
  const fit = glass.clientWidth / viewer.width;
  for (const { glass: one } of Object.values(viewer.panes)) one.style.aspectRatio = `${viewer.width} / ${viewer.height}`;
  const scale = view.zoom || fit;
  const [width, height] = [glass.clientWidth, glass.clientWidth * (viewer.height / viewer.width)];
  view.x = within(view.x, width / 2 / scale, viewer.width);
  view.y = within(view.y, height / 2 / scale, viewer.height);
  const transform = `translate(${width / 2 - view.x * scale}px, ${height / 2 - view.y * scale}px) scale(${scale})`;
  for (const made of Object.values(viewer.panes)) {
    made.glass.classList.toggle("zoomed", view.zoom > 0);
    for (const { stage } of made.layers) {
      Object.assign(stage.style, { transform, width: `${viewer.width}px`, height: `${viewer.height}px` });
    }
  }
  const { layers, divider, caption } = viewer.panes.both;
  const share = view.swapped ? 0 : view.split;
  layers[1].half.style.width = `${100 * share}%`;
  divider.style.left = `${100 * share}%`;
  divider.hidden = view.swapped;
  caption.textContent = share === 0 ? view.right : share === 1 ? view.left : `${view.left} | ${view.right}`;
  find("picture-zoom").textContent = view.zoom ? `${view.zoom}×` : "fit";
  find("picture-split").value = view.split;
}

/** A middle that leaves the window inside the picture; the picture's own where the window is larger. */
function within(middle, half, whole) {
  return half * 2 >= whole ? whole / 2 : Math.min(whole - half, Math.max(half, middle));
}

function zoom(steps) {
  const levels = [0, ...ZOOMS];
  zoomTo(levels[Math.min(levels.length - 1, Math.max(0, levels.indexOf(view.zoom) + steps))]);
}

function zoomTo(level) {
  view.zoom = level;
  place();
}

function swap() {
  show({ left: view.right, right: view.left });
}

function drag(event, moved) {
  if (event.button !== 0) return;
  const glass = event.currentTarget;
  find("viewer").focus({ preventScroll: true });
  glass.setPointerCapture(event.pointerId);
  let [x, y] = [event.clientX, event.clientY];
  const onMove = (now) => {
    moved(now.clientX - x, now.clientY - y, glass);
    [x, y] = [now.clientX, now.clientY];
    place();
  };
  glass.addEventListener("pointermove", onMove);
  for (const end of ["pointerup", "pointercancel"]) {
    glass.addEventListener(end, () => glass.removeEventListener("pointermove", onMove), { once: true });
  }
}

function move(dx, dy, glass) {
  const scale = view.zoom || glass.clientWidth / viewer.width;
  view.x -= dx / scale;
  view.y -= dy / scale;
}

function slide(dx, dy, glass) {
  divide(Math.min(1, Math.max(0, view.split + dx / glass.clientWidth)));
}

/** Show the left one over this share of the pane of both. */
function divide(share) {
  Object.assign(view, { split: share, swapped: false });
  place();
}

/** The wheel zooms where the viewer was pressed before, or with Ctrl: else the page scrolls. */
function wheel(event) {
  if (!event.ctrlKey && !find("viewer").contains(document.activeElement)) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1 : -1);
}

function pictureKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 40 / (view.zoom || 1);
  const keys = {
    "+": () => zoom(1),
    "=": () => zoom(1),
    "-": () => zoom(-1),
    0: () => zoomTo(0),
    ArrowLeft: () => (view.x -= step),
    ArrowRight: () => (view.x += step),
    ArrowUp: () => (view.y -= step),
    ArrowDown: () => (view.y += step),
    f: flicker,
    e: () => show({ errors: view.errors || view.scene.clean === null ? 0 : ERRORS[2] }),
  };
  const act = keys[event.key] || keys[event.key.toLowerCase()];
  if (!act || (view.zoom === 0 && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act();
  place();
}

/** The pane of both shows one of them alone, and with the next press the other. */
function flicker() {
  Object.assign(view, { split: 1, swapped: !view.swapped });
}
