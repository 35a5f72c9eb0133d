// The page of a generator: pictures of z, by sliders; and a picture of one's own, as the model has it.

const generator = new Graph(machine, told.generator);
const encoder = told.encoder && new Graph(machine, told.encoder);
const rebuilder = told.rebuilder && new Graph(machine, told.rebuilder);
const luck = new Luck(Date.now());
const clock = new Clock($("clock"));
const film = new Recorder($("record"), () => 1 / 20);
const FIRST = 12; // sliders before one asks for more
const state = { z: new Float32Array(told.z_size), from: null, to: null, way: 0, sliders: [] };

/** Show the picture of z. */
function look() {
  const from = performance.now(), y = new Float32Array(told.classes);
  if (told.classes) y[+$("label").value] = 1;
  const x = generator.run(told.classes ? { z: state.z, y } : { z: state.z }).x;
  film.add(paint($("stage"), x));
  clock.tell(performance.now() - from);
  return x;
}

/** Set z, and the sliders to it. */
function set(z) {
  state.z.set(z);
  for (const { input, at, words } of state.sliders) {
    input.value = z[at];
    words.textContent = z[at].toFixed(1);
  }
  look();
}

function slider(at, rank) {
  const row = document.createElement("label"), name = document.createElement("span");
  const input = document.createElement("input"), words = document.createElement("output");
  Object.assign(input, { type: "range", min: -3.5, max: 3.5, step: 0.05, value: 0 });
  name.textContent = `z ${at}`;
  row.append(name, input, words);
  row.hidden = rank >= FIRST;
  input.addEventListener("input", () => {
    stay();
    state.z[at] = input.value;
    words.textContent = (+input.value).toFixed(1);
    look();
  });
  $("sliders").append(row);
  return { input, at, words, row };
}

const drawn = () => luck.normals(told.z_size).map((x) => x * +$("spread").value);

/** Stop walking. */
function stay() {
  state.from = null;
  $("walk").textContent = "Walk";
  $("walk").setAttribute("aria-pressed", "false");
}

/** From where z is to one place after another, on the sphere between them. */
function walk(now) {
  if (!state.from) return;
  state.way += Math.min(now - state.last, 100) / 2500;
  state.last = now;
  if (state.way >= 1) [state.from, state.to, state.way] = [state.to, drawn(), state.way - 1];
  const norm = (z) => Math.hypot(...z) || 1e-9, { from, to, way } = state;
  const cosine = from.reduce((sum, x, i) => sum + x * to[i], 0) / norm(from) / norm(to);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine))), sine = Math.sin(angle);
  const [a, b] = sine < 1e-3 ? [1 - way, way] : [Math.sin((1 - way) * angle) / sine, Math.sin(way * angle) / sine];
  set(from.map((x, i) => a * x + b * to[i]));
  requestAnimationFrame(walk);
}

/** Take a picture: its code becomes z, or the model rebuilds it. */
async function take(file) {
  stay();
  await put(file, $("given"));
  const x = read($("given"));
  let made;
  if (encoder) {
    set(encoder.run({ x }).mean);
    made = look().slice();
  } else {
    made = rebuilder.run({ x }).x.slice();
  }
  paint($("given"), x);
  paint($("rebuilt"), made);
  const error = made.reduce((sum, one, i) => sum + (Math.min(1, Math.max(-1, one)) - x[i]) ** 2, 0) / x.length / 4;
  $("pair").hidden = false;
  $("psnr").textContent = `${(-10 * Math.log10(Math.max(error, 1e-10))).toFixed(1)} dB`;
  say(`The picture was rebuilt, at ${$("psnr").textContent}.`);
}

state.sliders = told.order.map(slider);
$("more").hidden = told.order.length <= FIRST;
$("more").addEventListener("click", () => {
  for (const { row } of state.sliders) row.hidden = false;
  $("more").hidden = true;
});
$("draw").addEventListener("click", () => {
  stay();
  set(drawn());
});
$("zero").addEventListener("click", () => {
  stay();
  set(new Float32Array(told.z_size));
});
$("walk").addEventListener("click", () => {
  if (state.from) return stay();
  Object.assign(state, { from: state.z.slice(), to: drawn(), way: 0, last: performance.now() });
  $("walk").textContent = "Stay";
  $("walk").setAttribute("aria-pressed", "true");
  return requestAnimationFrame(walk);
});
$("spread").addEventListener("input", () => ($("spreadtold").textContent = $("spread").value));
$("label")?.addEventListener("change", look);
if (encoder || rebuilder) files($("file"), take);
set(drawn());
window.play = { generator, encoder, rebuilder, machine, state, set, take, look };
