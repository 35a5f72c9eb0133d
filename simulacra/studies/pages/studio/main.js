// The page: what is shown, which key does what, the work and its end.

import { tint } from "./labels.js";
import * as paint from "./paint.js";
import { clip, frame, isPainted, labelsOf, layer, onChange, send, settled, state, watch } from "./store.js";
import * as time from "./time.js";

const find = (name) => document.getElementById(name);
const all = (selector) => [...document.querySelectorAll(selector)];
const { hand } = paint;
const NAMES = {
  frame: "frame", overlay: "overlay", matte: "matte", foreground: "foreground", background: "background",
  composite: "composite", effects: "effects",
};
/** "foreground of 2" of objects/2/foreground. */
const named = (part) => NAMES[part] ?? part.replace(/^objects\/(\d)\/(\w+)$/, "$2 of $1");
const STAGES = { starting: "starting", object: "following", background: "background", writing: "writing", effects: "effects" };
const HINTS = {
  brush: "Draw over the object. With Shift it erases.",
  eraser: "Wipe away what is not the object.",
  lasso: "Draw a line around the object. With Shift what is inside is erased.",
  box: "Drag a box around the whole object. GrabCut proposes, you correct.",
};
let mode = "paint";
let [mine, zoom, chosen, error] = [0, 1, 1, ""]; // mine: counted up with each frame that is shown

// --- what is shown ---

async function show(t) {
  const turn = (mine += 1);
  about();
  if (mode === "paint") {
    const image = await frame(t);
    if (turn !== mine) return;
    draw(find("base"), image);
    await paint.show(t);
  } else {
    const [left, right] = await Promise.all(["left", "right"].map((side) => half(find(side).value, t)));
    if (turn !== mine) return;
    draw(find("base"), left);
    draw(find("other"), right);
  }
  for (const next of [t + 1, t - 1, t + 2]) if (next >= 0 && next < clip.frames) frame(next);
}

function draw(canvas, image) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (image) pen.drawImage(image, 0, 0, canvas.width, canvas.height);
}

/** One side of a comparison. */
async function half(kind, t) {
  if (kind === "frame") return frame(t);
  if (kind !== "overlay") return layer(kind, t);
  const [image, labels] = await Promise.all([frame(t), labelsOf(t)]);
  const [made, tinted] = [sized(document.createElement("canvas")), sized(document.createElement("canvas"))];
  draw(made, image);
  if (labels) tint(tinted, labels, paint.colours);
  made.getContext("2d").drawImage(tinted, 0, 0);
  return made;
}

function sized(canvas) {
  canvas.width = clip.width;
  canvas.height = clip.height;
  return canvas;
}

/** What the frame that is shown has, in words. */
function about() {
  const t = time.now();
  const sure = time.sure(t);
  const words = isPainted(t) ? "painted" : state.without?.includes(t) ? "found: not there"
    : sure === null ? "no mask yet" : `found, expected overlap ${sure.toFixed(2)}`;
  find("about").textContent = `Frame ${t}: ${words}`;
  find("base").setAttribute("aria-label", `Frame ${t}, ${words}`);
}

// --- the sides of the page ---

function buttons() {
  for (const one of all("button[data-tool]")) one.setAttribute("aria-pressed", one.dataset.tool === hand.tool);
  for (const one of all("button[data-mode]")) one.setAttribute("aria-pressed", one.dataset.mode === mode);
  for (const one of all(".paints")) one.hidden = mode !== "paint";
  for (const one of all(".compares")) one.hidden = mode !== "compare";
  find("stage").dataset.tool = hand.tool;
  find("hint").textContent = HINTS[hand.tool];
  find("size-said").textContent = `${hand.size} px`;
  find("undo").disabled = !paint.canUndo();
  find("redo").disabled = !paint.canRedo();
  find("drop").disabled = !isPainted(time.now());
  objects();
}

let listed = "";
function objects() {
  const count = Math.max(chosen, state.objects ?? 1, 1);
  const now = [count, hand.object, state.running].join();
  if (now === listed) return; // a button that is being pressed stays where it is
  listed = now;
  const made = [];
  for (let k = 1; k <= count; k += 1) {
    const dot = Object.assign(document.createElement("span"), { className: `dot o${k}` });
    const one = Object.assign(document.createElement("button"), { type: "button", className: "chip", onclick: () => pick(k) });
    one.append(dot, `Object ${k}`);
    one.setAttribute("aria-pressed", hand.object === k);
    one.dataset.object = k;
    made.push(one);
  }
  const more = Object.assign(document.createElement("button"), { type: "button", className: "chip", id: "new", disabled: count >= clip.colours.length, onclick: () => pick(count + 1) });
  more.innerHTML = "New <kbd>N</kbd>";
  const less = Object.assign(document.createElement("button"), { type: "button", className: "chip", id: "remove", textContent: `Remove ${hand.object}`, disabled: state.running || count < 2, onclick: remove });
  const focus = document.activeElement?.closest("#objects") ? document.activeElement.dataset.object ?? document.activeElement.id : null;
  find("objects").replaceChildren(...made, more, less);
  if (focus) (find(focus) ?? document.querySelector(`[data-object="${focus}"]`))?.focus();
}

function pick(k) {
  if (k > clip.colours.length) return;
  hand.object = k;
  chosen = Math.max(chosen, k);
  buttons();
}

async function remove() {
  if (!window.confirm(`Remove object ${hand.object} from all frames? That cannot be undone.`)) return;
  await settled();
  if (!(await tell("remove", { object: hand.object }))) return;
  chosen = Math.max(1, chosen - 1);
  hand.object = Math.min(hand.object, chosen);
  paint.forget();
  buttons();
  show(time.now());
}

/** Send something; what is refused is said. Whether it was done. */
async function tell(name, told = {}) {
  complain("");
  try {
    await send(name, told);
    return true;
  } catch (why) {
    complain(why.message);
    return false;
  }
}

function complain(words) {
  error = words;
  work();
}

/** How saving goes, and what went wrong. */
function spoken(words, why = "") {
  const said = { saving: "saving …", saved: "saved", looking: "GrabCut looks …", "not saved": "not saved" };
  find("saved").textContent = said[words] ?? "";
  if (why || words) complain(why);
}

function work() {
  const { running, stage, share } = state;
  find("start").firstChild.data = running ? "Stop " : state.layers.parts.length || Object.keys(state.found).length ? "Run again " : "Start ";
  find("start").classList.toggle("main", !running);
  find("running").hidden = !running;
  find("share").value = share ?? 0;
  find("stage-said").textContent = `${STAGES[stage] ?? stage ?? ""} ${Math.round(100 * (share ?? 0))} %${left(stage, share)}`;
  find("advised").disabled = !Number.isInteger(state.advised);
  find("advised").firstChild.data = Number.isInteger(state.advised) ? `Correct frame ${state.advised} ` : "Next to correct ";
  find("export").disabled = running || !state.layers.parts.length;
  const why = error || state.error || "";
  find("error").hidden = !why;
  find("error").textContent = why;
  const told = running ? "" : state.current ? "The layers are those of these masks." : state.stage === "stopped"
    ? "Stopped. What was finished is kept." : state.layers.parts.length ? "The masks have changed since the layers were made."
      : Object.keys(state.masks).length ? "" : "Paint the object in any one frame, then start.";
  if (find("told").textContent !== told) find("told").textContent = told;
  lines(find("warnings"), (state.warnings ?? []).map((one) => one.text));
  const said = state.told.length ? state.told : clip.notes;
  find("log").hidden = !said.length;
  lines(find("log").querySelector("ul"), said);
  find("exported").textContent = state.exported
    ? `Copied to ${state.exported}. For editors: simulacra deliver ${state.exported}/layers -o FILMS`
    : "A copy of the layers and masks: a PNG a frame, and films.";
}

let pace = { stage: "", share: 0, at: 0 };

/** How long a stage still takes, once that can be said. */
function left(stage, share) {
  const now = performance.now();
  if (stage !== pace.stage || share < pace.share) pace = { stage, share, at: now };
  const minutes = ((1 - share) * (now - pace.at)) / (share - pace.share) / 60000;
  if (!(share - pace.share > 0.05 && now - pace.at > 5000)) return "";
  return minutes < 1 ? ", less than a minute" : `, about ${Math.round(minutes)} min`;
}

function lines(list, texts) {
  if (list.dataset.texts === JSON.stringify(texts)) return;
  list.dataset.texts = JSON.stringify(texts);
  list.replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

/** What may be compared: as far as it is there. */
function sides() {
  const there = ["frame", "overlay", ...state.layers.parts];
  for (const [side, wish] of [["left", "frame"], ["right", there.includes("background") ? "background" : "overlay"]]) {
    const select = find(side);
    if ([...select.options].map((one) => one.value).join() === there.join()) continue;
    const kept = select.options.length && select.dataset.own ? select.value : wish;
    select.replaceChildren(...there.map((one) => new Option(named(one), one, false, one === kept)));
  }
}

// --- what is done ---

function setMode(to) {
  if (paint.busy()) return;
  mode = to;
  document.body.dataset.mode = mode;
  sides();
  buttons();
  show(time.now());
}

async function startOrStop() {
  if (state.running) { await tell("stop"); return; }
  await settled();
  await tell("start");
}

function setTool(tool) {
  hand.tool = tool;
  find("ring").hidden = true;
  buttons();
}

function setSize(size) {
  hand.size = Math.min(100, Math.max(1, size));
  find("size").value = hand.size;
  buttons();
}

function setZoom(to) {
  zoom = Math.min(8, Math.max(1, to));
  const view = find("view");
  const [x, y] = [(view.scrollLeft + view.clientWidth / 2) / view.scrollWidth, (view.scrollTop + view.clientHeight / 2) / view.scrollHeight];
  find("stage").style.setProperty("--zoom", zoom);
  grain();
  view.scrollTo(x * view.scrollWidth - view.clientWidth / 2, y * view.scrollHeight - view.clientHeight / 2);
  if (zoom > 1) view.tabIndex = 0; // its arrow keys scroll then
  else view.removeAttribute("tabindex");
  find("smaller").disabled = zoom <= 1;
  find("larger").disabled = zoom >= 8;
}

/** Pixels that are shown large keep their edges. */
function grain() {
  document.body.toggleAttribute("data-fine", find("stage").clientWidth >= 3 * clip.width);
}

function veil() {
  const shown = find("veil").getAttribute("aria-pressed") !== "true";
  find("veil").setAttribute("aria-pressed", shown);
  find("over").classList.toggle("veiled", !shown);
}

function back(again) {
  if (paint.busy()) return;
  const t = paint.back(again);
  if (t !== null) time.go(t);
}

function wipe(to) {
  find("wiper").value = to;
  find("stage").style.setProperty("--cut", `${find("wiper").value}%`);
}

const hop = (by) => { if (!paint.busy()) { time.pause(); time.go(time.now() + by); } };
const advise = () => { if (Number.isInteger(state.advised)) { setMode("paint"); time.pause(); time.go(state.advised); } };
const clear = (none) => { if (mode === "paint") paint.clear(time.now(), none); };

const KEYS = {
  ArrowLeft: (event) => hop(event.shiftKey ? -10 : -1), ArrowRight: (event) => hop(event.shiftKey ? 10 : 1),
  Home: () => hop(-Infinity), End: () => hop(Infinity), " ": () => { if (!paint.busy()) time.toggle(); },
  b: () => setTool("brush"), e: () => setTool("eraser"), l: () => setTool("lasso"), g: () => setTool("box"),
  "[": () => setSize(hand.size - Math.max(1, Math.round(hand.size / 6))), "]": () => setSize(hand.size + Math.max(1, Math.round(hand.size / 6))),
  n: () => find("new")?.click(), Delete: () => clear(false), Backspace: () => clear(false), d: () => clear(true),
  r: () => find("start").click(), a: advise, c: () => setMode(mode === "paint" ? "compare" : "paint"),
  ",": () => mode === "compare" && wipe(Number(find("wiper").value) - 5), ".": () => mode === "compare" && wipe(Number(find("wiper").value) + 5),
  "+": () => setZoom(zoom * 2), "=": () => setZoom(zoom * 2), "-": () => setZoom(zoom / 2), v: veil,
  x: () => find("export").click(), "?": () => find("help").showModal(),
};

function key(event) {
  if (event.defaultPrevented || find("help").open || event.altKey) return;
  const on = event.target;
  if (event.ctrlKey || event.metaKey) {
    const letter = event.key.toLowerCase();
    if (mode !== "paint" || !["z", "y"].includes(letter)) return;
    event.preventDefault();
    back(letter === "y" || event.shiftKey);
    return;
  }
  if (on.closest("select") || (on.closest("input[type=range]:not(#time)") && /^(Arrow|Home|End)/.test(event.key))) return;
  if (on.id === "view" && event.key.startsWith("Arrow") && !event.shiftKey) return;
  if (event.key === " " && on.closest("button, summary")) return;
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()] ?? (/^[1-8]$/.test(event.key) && (() => pick(Number(event.key))));
  if (!act) return;
  event.preventDefault();
  act(event);
}

// --- from the start on ---

function listen() {
  document.addEventListener("keydown", key);
  for (const one of all("button[data-tool]")) one.addEventListener("click", () => setTool(one.dataset.tool));
  for (const one of all("button[data-mode]")) one.addEventListener("click", () => setMode(one.dataset.mode));
  const acts = {
    undo: () => back(false), redo: () => back(true), clear: () => clear(false), drop: () => clear(true),
    start: startOrStop, advised: advise, export: async () => { await settled(); tell("export"); },
    keys: () => find("help").showModal(), veil, smaller: () => setZoom(zoom / 2), larger: () => setZoom(zoom * 2),
  };
  for (const [name, act] of Object.entries(acts)) find(name).addEventListener("click", act);
  find("size").addEventListener("input", () => setSize(Number(find("size").value)));
  find("wiper").addEventListener("input", () => wipe(find("wiper").value));
  for (const name of ["size", "wiper"]) find(name).addEventListener("pointerup", () => find(name).blur()); // keys go on through time
  for (const side of ["left", "right"]) {
    find(side).addEventListener("change", () => { find(side).dataset.own = 1; show(time.now()); });
  }
  for (const name of ["pointerdown", "pointermove"]) {
    find("other").addEventListener(name, (event) => {
      if (!event.buttons) return;
      const box = find("stage").getBoundingClientRect();
      wipe((100 * (event.clientX - box.left)) / box.width);
    });
  }
}

let drawn = ""; // of which masks and layers the picture is
function refresh() {
  time.drawStrip();
  work();
  sides();
  buttons();
  about();
  const t = time.now();
  const now = JSON.stringify([t, isPainted(t), state.masks[t], state.found[t]?.version, state.layers.version]);
  if (now !== drawn) { drawn = now; show(t); }
}

function start() {
  document.title = `${clip.name} · Studio`;
  find("clip").textContent = `${clip.name}, ${clip.frames} frames of ${clip.width}×${clip.height}`;
  for (const name of ["base", "other", "over"]) sized(find(name));
  find("draft").setAttribute("viewBox", `0 0 ${clip.width} ${clip.height}`);
  find("pane").style.setProperty("--ratio", clip.width / clip.height);
  find("size").max = Math.max(10, Math.round(clip.width / 4));
  listen();
  paint.begin(() => { time.drawStrip(); buttons(); about(); }, spoken);
  time.begin(show);
  setSize(hand.size);
  setZoom(1);
  new ResizeObserver(grain).observe(find("stage"));
  onChange(refresh);
  time.go(0);
  watch((why) => { if (why !== lost) { lost = why; complain(why); } });
}
let lost = "";
start();
document.body.classList.add("ready");
