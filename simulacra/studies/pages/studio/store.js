// What the server knows, and what was painted and is not there yet.

import { fromRuns } from "./labels.js";

export const clip = await (await fetch("clip.json")).json();
export const pixels = clip.width * clip.height;
export let state = { version: 0, masks: {}, found: {}, layers: { version: 0, parts: [] }, warnings: [], told: [] };

const unsaved = new Map(); // frame: the runs that wait, or null for none
let sending = Promise.resolve();
const listeners = [];
let wake = () => {}; // look at once
const pictures = new Map(); // address: a promise of a picture
const known = new Map(); // address: a promise of runs
const MOST = 90; // pictures that are kept

/** Have a function called whenever the state is another one. */
export function onChange(listener) { listeners.push(listener); }

function take(news) {
  if (!news || news.version === undefined || news.version < state.version) return;
  if (news.running !== state.running) wake();
  state = news;
  for (const listener of listeners) listener();
}

/** Send something; the state that comes back is taken. Resolves to the answer; an Error says why not. */
export async function send(name, told = {}) {
  let answer;
  try {
    answer = await fetch(name, { method: "POST", body: JSON.stringify(told) });
  } catch {
    throw new Error("the studio has ended; start it again, nothing is lost");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const found = await answer.json();
  take(found);
  return found;
}

/** Ask for the state, again and again. */
export async function watch(failed) {
  for (;;) {
    try {
      const answer = await fetch(`state/${state.version}.json`);
      if (answer.ok) take(await answer.json());
      failed(answer.ok ? "" : "the studio does not know this page; open the address that it printed");
    } catch {
      failed("the studio has ended; start it again, nothing is lost");
    }
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, state.running ? 400 : 1500); });
  }
}

/** Have a frame's mask saved: its runs, or null for none. One after the other, each frame's last. */
export function save(t, runs, said) {
  unsaved.set(t, runs);
  said("saving");
  sending = sending.then(async () => {
    if (!unsaved.has(t)) return;
    const sent = unsaved.get(t);
    try {
      await send("mask", { frame: t, runs: sent });
      if (unsaved.get(t) === sent) unsaved.delete(t);
      if (sent) known.set(`mask/${t}.json`, { version: state.masks[t], runs: Promise.resolve(sent) });
      said(unsaved.size ? "saving" : "saved");
    } catch (error) {
      said("not saved", error.message);
    }
  });
  return sending;
}

/** Once all that was painted is on its way or refused. */
export const settled = () => sending;

/** Whether a frame has a mask that a person painted. */
export function isPainted(t) {
  return unsaved.has(t) ? unsaved.get(t) !== null : t in state.masks;
}

/** The runs of what was painted on a frame; null if nothing was. */
export async function painted(t) {
  if (unsaved.has(t)) return unsaved.get(t);
  return t in state.masks ? asked(`mask/${t}.json`, state.masks[t]) : null;
}

/** The labels of a frame, painted or found; null if there are none yet. */
export async function labelsOf(t) {
  const runs = isPainted(t) ? await painted(t) : t in state.found ? await asked(`found/${t}.json`, state.found[t].version) : null;
  return runs && fromRuns(runs, pixels);
}

function asked(name, version) {
  const kept = known.get(name);
  if (kept?.version !== version) {
    const runs = fetch(`${name}?${version}`).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
    known.set(name, { version, runs });
  }
  return known.get(name).runs;
}

/** A picture, decoded; null if there is none. The last ones are kept. */
export function picture(name) {
  const found = pictures.get(name) ?? load(name);
  pictures.delete(name);
  pictures.set(name, found);
  if (pictures.size > MOST) pictures.delete(pictures.keys().next().value);
  return found;
}

async function load(name) {
  const image = new Image();
  image.src = name;
  try {
    await image.decode();
    return image;
  } catch {
    pictures.delete(name);
    return null;
  }
}

export const frame = (t) => picture(`frame/${t}.png`);
export const layer = (part, t) => picture(`${part}/${t}.png?${state.layers.version}`);
