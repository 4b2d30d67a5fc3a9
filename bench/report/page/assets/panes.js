// --- panes: what is drawn into them ------------------------------------------------------------------------------

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
  const scale = find("picture-scale");
  scale.hidden = !(errors && clean);
  scale.textContent =
    "Error: the mean over the colours of |restored - clean|, from black (0) over purple and orange to white" +
    ` (${errors} of 255, or more).`;
  place();
}

function words({ label, record }) {
  const [psnr, ssim] = [told("psnr_db", record), told("ssim", record)];
  const figures = [psnr === null ? "" : `${psnr.toFixed(2)} dB`, ssim === null ? "" : `SSIM ${ssim.toFixed(4)}`];
  return `${label}: ${figures.filter(Boolean).join(", ")}`;
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
    decoded.set(
      number,
      image.decode().then(() => image),
    );
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
    const error =
      (Math.abs(data[i] - wanted[i]) +
        Math.abs(data[i + 1] - wanted[i + 1]) +
        Math.abs(data[i + 2] - wanted[i + 2])) /
      3;
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
