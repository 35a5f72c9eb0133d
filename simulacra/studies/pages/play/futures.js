// The page of Visual Dynamics: draw a picture, and see six futures of it move.

const painter = new Graph(machine, told.painter);
const prior = told.prior && new Graph(machine, told.prior);
const bank = told.bank && machine.tensor(told.bank);
const luck = new Luck(Date.now());
const clock = new Clock($("clock"));
const film = new Recorder($("record"), () => 1 / 4, 60);
const [C, H, W] = told.picture, pixels = C * H * W;
const state = { now: new Float32Array(pixels).fill(-1), waiting: 0, beat: 0, films: [] };
const pictures = told.pictures && machine.tensor(told.pictures.numbers);

const six = Array.from({ length: 6 }, (_, i) => {
  const button = document.createElement("button"), canvas = document.createElement("canvas");
  button.type = "button";
  button.setAttribute("aria-label", `Future ${i + 1}: go on from it`);
  button.append(canvas);
  button.addEventListener("click", () => state.films[i] && begin(state.films[i]));
  $("futures").append(button);
  return { canvas };
});

/** One motion from the run's prior. */
function drawn() {
  const Z = told.z_size;
  if (bank) {
    const k = Math.floor(luck.uniform() * (bank.length / Z));
    return bank.slice(k * Z, k * Z + Z);
  }
  const z = luck.normals(Z);
  if (!prior) return z;
  const { mean, std } = prior.run({ x: state.now });
  return z.map((e, i) => mean[i] + std[i] * e);
}

/** Imagine six futures, one after another, so that the page stays awake. */
function imagine() {
  state.waiting = 6;
  requestAnimationFrame(next);
}

function next() {
  if (!state.waiting) return;
  const from = performance.now(), i = 6 - state.waiting--;
  state.films[i] = painter.run({ x: state.now, z: drawn() }).x.map((x) => Math.min(1, Math.max(-1, x)));
  clock.tell(performance.now() - from);
  requestAnimationFrame(next);
}

/** Begin with a picture. */
function begin(x) {
  state.now = Float32Array.from(x);
  paint($("stage"), state.now);
  imagine();
}

/** An example. */
function example(k) {
  begin(Float32Array.from(pictures.subarray(k * pixels, (k + 1) * pixels), (b) => b / 127.5 - 1));
}

// drawing
const stage = $("stage"), pen = { down: false, x: 0, y: 0 };
const place = (event) => {
  const box = stage.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * W, ((event.clientY - box.top) / box.height) * H];
};
function line(x, y) {
  const context = stage.getContext("2d", { willReadFrequently: true });
  Object.assign(context, { strokeStyle: $("colour").value, lineWidth: +$("brush").value, lineCap: "round" });
  context.beginPath();
  context.moveTo(pen.x, pen.y);
  context.lineTo(x + 0.01, y);
  context.stroke();
  Object.assign(pen, { x, y });
}
stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  [pen.x, pen.y] = place(event);
  pen.down = true;
  line(pen.x, pen.y);
});
stage.addEventListener("pointermove", (event) => pen.down && line(...place(event)));
stage.addEventListener("pointerup", () => {
  pen.down = false;
  begin(read(stage));
});

/** Futures move to and fro. */
function beat() {
  state.beat = 1 - state.beat;
  six.forEach(({ canvas }, i) => {
    const x = state.beat ? state.films[i] : state.now, shown = x && paint(canvas, x);
    if (i === 0 && shown) film.add(shown);
  });
}

$("again").addEventListener("click", imagine);
$("clear").addEventListener("click", () => {
  const rgb = [1, 3, 5].map((i) => parseInt($("colour").value.slice(i, i + 2), 16) / 127.5 - 1);
  begin(Float32Array.from({ length: pixels }, (_, i) => (C === 1 ? (rgb[0] + rgb[1] + rgb[2]) / 3 : rgb[Math.floor(i / H / W)])));
});
if (pictures) {
  let k = 0;
  $("example").addEventListener("click", () => example(++k % told.pictures.count));
}
files($("file"), async (file) => {
  await put(file, stage);
  begin(read(stage));
});
if (pictures) example(0);
else begin(state.now);
setInterval(beat, 450);
window.play = { painter, prior, machine, state, begin, imagine, drawn };
