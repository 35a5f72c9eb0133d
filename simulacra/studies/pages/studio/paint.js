// Painting on the frame that is shown: brush, eraser, lasso, box; what was done can be undone.

import { fill, fromRuns, stroke, tint, toRuns } from "./labels.js";
import { clip, isPainted, labelsOf, painted, pixels, save, send } from "./store.js";

const STEPS = 200; // that can be undone
const NEAR = 1.5; // pixels between points of a lasso
const find = (name) => document.getElementById(name);
const [over, stage, draft, ring] = ["over", "stage", "draft", "ring"].map(find);
export const colours = clip.colours.map((one) => [1, 3, 5].map((i) => parseInt(one.slice(i, i + 2), 16)));
export const hand = { tool: "brush", size: Math.max(2, Math.round(clip.width / 22)), object: 1 };
const past = [];
const future = [];
let [shown, labels, turn] = [0, null, 0]; // the frame, its labels, counted up with each change
let drawing = null;
let [changed, say] = [() => {}, () => {}];

/** Draw the labels of a frame, painted or found, unless another one is asked for meanwhile. */
export async function show(t) {
  if (drawing) return;
  const mine = (turn += 1);
  const found = await labelsOf(t);
  if (mine !== turn || drawing) return;
  [shown, labels] = [t, found];
  redraw();
}

function redraw(box = null) {
  if (box === null || !labels) over.getContext("2d").clearRect(0, 0, over.width, over.height);
  if (labels) tint(over, labels, colours, box);
}

const canUndo = () => past.length > 0;
const canRedo = () => future.length > 0;
export { canRedo, canUndo };

async function put(t, before, after) {
  past.push({ t, before, after });
  if (past.length > STEPS) past.shift();
  future.length = 0;
  saved(t, after);
}

function saved(t, runs) {
  save(t, runs, say);
  changed();
}

/** Take back the last step, or do it again; resolves to the frame where that is. */
export function back(again = false) {
  const [from, to] = again ? [future, past] : [past, future];
  const step = from.pop();
  if (!step) return null;
  to.push(step);
  turn += 1;
  labels = null;
  saved(step.t, again ? step.after : step.before);
  return step.t;
}

/** The frame's mask becomes empty, or with `none` there is none of it. */
export async function clear(t, none = false) {
  if (drawing || (none && !isPainted(t))) return;
  const before = await painted(t);
  put(t, before, none ? null : [0, pixels]);
  await show(t);
}

/** Forget what could be undone, since masks were changed elsewhere. */
export function forget() {
  past.length = future.length = 0;
  turn += 1;
  labels = null;
}

function place(event) {
  const box = over.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * clip.width, y: ((event.clientY - box.top) / box.height) * clip.height };
}

/** The ring that shows the brush's size. */
function follow(event) {
  const brush = ["brush", "eraser"].includes(hand.tool) && event.pointerType !== "touch";
  ring.hidden = !brush || event.type === "pointerleave";
  if (ring.hidden) return;
  const [box, home] = [over.getBoundingClientRect(), stage.getBoundingClientRect()];
  const wide = (hand.size * box.width) / clip.width;
  ring.style.width = ring.style.height = `${wide}px`;
  ring.style.left = `${event.clientX - home.left - wide / 2}px`;
  ring.style.top = `${event.clientY - home.top - wide / 2}px`;
}

async function down(event) {
  if (event.button > 2 || event.button === 1 || drawing || !event.isPrimary) return;
  event.preventDefault();
  document.activeElement?.blur();
  over.setPointerCapture(event.pointerId);
  const erases = hand.tool === "eraser" || event.shiftKey || event.button === 2;
  const mine = { id: event.pointerId, points: [place(event)], value: erases ? 0 : hand.object, tool: hand.tool };
  const t = (mine.t = Number(find("time").value));
  drawing = mine;
  turn += 1;
  const [before, found] = [await painted(t), t === shown && labels ? labels : await labelsOf(t)];
  if (drawing !== mine && !mine.over) return;
  Object.assign(mine, { before, start: found?.slice() ?? new Uint8Array(pixels) });
  [shown, labels] = [t, mine.start.slice()];
  redraw();
  advance(mine, 0);
  if (mine.over) finish(mine);
}

/** Draw what is new since the point of a number. */
function advance(mine, from) {
  if (!mine.start) return; // the frame's labels are not there yet
  const { points, tool } = mine;
  const last = points[points.length - 1];
  if (tool === "brush" || tool === "eraser") {
    for (let i = Math.max(0, from - 1); i < points.length; i += 1) {
      redraw(stroke(labels, clip.width, points[Math.max(0, i - 1)], points[i], hand.size / 2, mine.value));
    }
  } else if (tool === "lasso") {
    outline("polygon", { points: points.map((one) => `${one.x},${one.y}`).join(" ") });
  } else {
    const [a, b] = [points[0], last];
    outline("rect", { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y) });
  }
}

function outline(name, about) {
  const lines = ["under", "line"].map((kind) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries({ ...about, class: kind })) made.setAttribute(key, value);
    return made;
  });
  draft.replaceChildren(...lines);
}

function move(event) {
  follow(event);
  if (!drawing || event.pointerId !== drawing.id) return;
  const [mine, count] = [drawing, drawing.points.length];
  const events = event.getCoalescedEvents?.() ?? [];
  for (const one of events.length ? events : [event]) {
    const point = place(one);
    const last = mine.points[mine.points.length - 1];
    const far = mine.tool !== "lasso" || Math.hypot(point.x - last.x, point.y - last.y) >= NEAR;
    if (far) mine.points.push(point);
  }
  advance(mine, count);
}

function up(event) {
  if (!drawing || event.pointerId !== drawing.id) return;
  const mine = drawing;
  mine.over = event.type === "pointerup" ? "done" : "broken";
  drawing = null;
  if (mine.start) finish(mine);
}

async function finish(mine) {
  draft.replaceChildren();
  const { t, points, start, value } = mine;
  if (mine.over === "broken") { labels = start; redraw(); return; }
  if (mine.tool === "lasso") fill(labels, clip.width, points, value);
  if (mine.tool === "box" && !(await propose(mine))) return;
  if (t !== shown) return;
  redraw();
  if (labels.some((one, i) => one !== start[i])) put(t, mine.before, toRuns(labels));
}

/** Have GrabCut find the object in a box; whether it did. */
async function propose({ t, points, start }) {
  const [a, b] = [points[0], points[points.length - 1]];
  const cut = (one, most) => Math.min(most, Math.max(0, Math.round(one)));
  const box = [cut(Math.min(a.x, b.x), clip.width), cut(Math.min(a.y, b.y), clip.height),
    cut(Math.max(a.x, b.x), clip.width), cut(Math.max(a.y, b.y), clip.height)];
  say("looking");
  const mine = turn;
  try {
    const found = fromRuns(await send("propose", { frame: t, box }), pixels);
    say("");
    if (mine !== turn) return false; // something else was done meanwhile
    labels = start.map((one, i) => (found[i] ? hand.object : one));
    return true;
  } catch (error) {
    say("", error.message);
    return false;
  }
}

/** Begin; `told` is called after each change, `spoken` with how saving goes and what went wrong. */
export function begin(told, spoken) {
  [changed, say] = [told, spoken];
  over.addEventListener("pointerdown", down);
  for (const name of ["pointermove", "pointerleave"]) over.addEventListener(name, move);
  for (const name of ["pointerup", "pointercancel"]) over.addEventListener(name, up);
  over.addEventListener("contextmenu", (event) => event.preventDefault());
}

/** Whether a line is being drawn. */
export const busy = () => drawing !== null;
