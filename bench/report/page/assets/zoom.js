// --- where the panes look ----------------------------------------------------------------------------------------

/** Move all stages to where the view stands, and the divider with its two halves. */
function place() {
  const { glass } = viewer.panes.left;
  if (!glass.clientWidth) return;
  const fit = glass.clientWidth / viewer.width;
  for (const { glass: one } of Object.values(viewer.panes))
    one.style.aspectRatio = `${viewer.width} / ${viewer.height}`;
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
