// The frames in time: a slider, play, and a strip that says how sure each frame's mask is.

import { clip, state } from "./store.js";

const SVG = "http://www.w3.org/2000/svg";
const LOW = 0.7; // expected overlap below which a mask is doubtful
const find = (name) => document.getElementById(name);
const [slider, strip, here, at, play] = ["time", "strip", "here", "at", "play"].map(find);
let timer = 0;
let moved = async () => {};

/** The frame that is shown. */
export const now = () => Number(slider.value);

/** Show a frame; resolves when it is there. */
export function go(t) {
  slider.value = Math.min(Math.max(t, 0), clip.frames - 1);
  at.textContent = `${now()} / ${clip.frames - 1}`;
  slider.setAttribute("aria-valuetext", `frame ${now()}`);
  return moved(now());
}

export function pause() {
  clearTimeout(timer);
  timer = 0;
  play.textContent = "▶";
  play.setAttribute("aria-label", "Play");
}

export function toggle() {
  if (timer) { pause(); return; }
  play.textContent = "❚❚";
  play.setAttribute("aria-label", "Pause");
  let next = now() >= clip.frames - 1 ? 0 : now() + 1;
  const step = async () => {
    const due = performance.now() + 1000 / Math.min(60, clip.fps);
    await go(next);
    if (!timer) return;
    next += 1;
    if (next >= clip.frames) { pause(); return; }
    timer = setTimeout(step, Math.max(0, due - performance.now()));
  };
  timer = setTimeout(step, 0);
}

/** How sure the mask of a frame is: of its least sure object. */
export const sure = (t) => (t in state.found && state.found[t].sure.length ? Math.min(...state.found[t].sure) : null);

/** What a frame has: "given", "gone", "low", "found" or "". */
export function kind(t) {
  if (t in state.masks) return "given";
  if (state.without.includes(t)) return "gone";
  return sure(t) === null ? "" : sure(t) < LOW ? "low" : "found";
}

/** Draw the strip anew. */
export function drawStrip() {
  strip.setAttribute("viewBox", `0 0 ${clip.frames} 20`);
  const bars = [];
  let worst = null;
  for (let t = 0; t < clip.frames; t += 1) {
    const what = kind(t);
    if (!what) continue;
    const height = what === "given" ? 20 : what === "gone" ? 2 : 2 + 18 * sure(t);
    const bar = document.createElementNS(SVG, "rect");
    const old = what !== "given" && state.found[t]?.old ? " old" : "";
    const about = { x: t + 0.06, y: 20 - height, width: 0.88, height, class: what + old };
    for (const [key, value] of Object.entries(about)) bar.setAttribute(key, value);
    bars.push(bar);
    if (what !== "given" && sure(t) !== null && (worst === null || sure(t) < sure(worst))) worst = t;
  }
  strip.replaceChildren(...bars);
  const count = Object.keys(state.masks).length;
  strip.setAttribute("aria-label", `${count} of ${clip.frames} frames painted, ${Object.keys(state.found).length} found`
    + (worst === null ? "" : `; least sure: frame ${worst}, ${sure(worst).toFixed(2)}`));
  here.hidden = state.advised === null || state.advised === undefined;
  if (!here.hidden) here.style.left = `${(100 * (state.advised + 0.5)) / clip.frames}%`;
}

/** Begin; `shown` is called with each frame that is to be shown. */
export function begin(shown) {
  moved = shown;
  slider.max = clip.frames - 1;
  slider.style.setProperty("--n", clip.frames);
  slider.disabled = play.disabled = clip.frames < 2;
  slider.addEventListener("input", () => { pause(); go(now()); });
  play.addEventListener("click", toggle);
  strip.addEventListener("pointerdown", (event) => {
    const box = strip.getBoundingClientRect();
    pause();
    go(Math.floor(((event.clientX - box.left) / box.width) * clip.frames));
  });
}
