// What the pages share: the page's numbers, pictures on canvases, files in and out.

const $ = (id) => document.getElementById(id);
const told = JSON.parse($("told").textContent);
const machine = new Machine(unpacked($("numbers").textContent.trim()));

/** Write a picture (C H W numbers in [-1, 1]) on a canvas, which takes its size. */
function paint(canvas, x, [C, H, W] = told.picture) {
  if (canvas.width !== W || canvas.height !== H) [canvas.width, canvas.height] = [W, H];
  const pixels = new ImageData(W, H), n = H * W;
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = 127.5 * (x[(C === 1 ? 0 : c) * n + i] + 1);
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return pixels.data;
}

/** The picture (C H W numbers in [-1, 1]) that a canvas shows. */
function read(canvas, [C, H, W] = told.picture) {
  const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, W, H);
  const x = new Float32Array(C * H * W), n = H * W;
  for (let i = 0; i < n; i++) {
    const rgb = [0, 1, 2].map((c) => data[4 * i + c] / 127.5 - 1);
    for (let c = 0; c < C; c++) x[c * n + i] = C === 1 ? 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] : rgb[c];
  }
  return x;
}

/** Put a picture file, cut to the canvas's shape and made its size, on a canvas. */
async function put(file, canvas, [, H, W] = told.picture) {
  const image = await createImageBitmap(file);
  const scale = Math.max(W / image.width, H / image.height), w = W / scale, h = H / scale;
  [canvas.width, canvas.height] = [W, H];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (image.width - w) / 2, (image.height - h) / 2, w, h, 0, 0, W, H);
}

/** Call `take` with a picture file that is chosen or dropped anywhere on the page. */
function files(input, take) {
  const first = (list) => [...list].find((file) => file.type.startsWith("image/"));
  const given = (list) => first(list) && take(first(list)).catch(() => say("That file holds no picture that the browser reads."));
  input.addEventListener("change", () => given(input.files));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    given(event.dataTransfer.files);
  });
}

/** Tell a person something, also one who hears the page. */
function say(text) {
  $("said").textContent = text;
}

/** Offer bytes as a file. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Records frames until it is stopped or has `most` of them; its button says which. */
class Recorder {
  constructor(button, seconds, most = 300) {
    Object.assign(this, { button, seconds, most, frames: null });
    button.addEventListener("click", () => this.toggle());
  }

  toggle() {
    if (this.frames) return this.stop();
    this.frames = [];
    this.button.textContent = "Stop and save the GIF";
    this.button.setAttribute("aria-pressed", "true");
    return null;
  }

  add(pixels) {
    if (!this.frames) return;
    this.frames.push(Uint8ClampedArray.from(pixels));
    if (this.frames.length >= this.most) this.stop();
  }

  stop() {
    const frames = this.frames, [, H, W] = told.picture;
    this.frames = null;
    this.button.textContent = "Record a GIF";
    this.button.setAttribute("aria-pressed", "false");
    if (!frames.length) return say("Nothing was recorded.");
    save(gif(frames, W, H, this.seconds(), Math.max(1, Math.round(192 / H))), `${told.name}.gif`);
    return say(`${frames.length} frames were saved as ${told.name}.gif.`);
  }
}

/** How long pictures take: a moving mean in milliseconds, and how many come in a second. */
class Clock {
  constructor(element) {
    Object.assign(this, { element, mean: 0, came: [] });
  }

  tell(milliseconds) {
    const now = performance.now();
    this.mean = this.mean ? this.mean + 0.05 * (milliseconds - this.mean) : milliseconds;
    this.came = [...this.came.filter((then) => then > now - 1000), now];
    const how = machine.plain ? "plain JavaScript" : "WebAssembly";
    if (now - (this.told ?? 0) > 400) {
      this.told = now;
      this.element.textContent = `${this.came.length} frames in the last second · ${this.mean.toFixed(1)} ms a frame · ${how}`;
    }
  }
}
