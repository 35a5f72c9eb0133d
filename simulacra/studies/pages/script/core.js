// What every page uses: elements made without HTML, the state in the address, numbers in words.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8; // of curves, --c0 to --c7 in notebook.css
const book = { runs: [], broken: [], sheets: [], version: 0, byId: new Map(), logs: new Map(), views: [] };

/** An element with properties, attributes and children. Text is always text. */
function el(tag, about = {}, ...children) {
  const [name, space] = tag.startsWith("svg:") ? [tag.slice(4), SVG] : [tag, ""];
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.setAttribute("class", value);
    else if (!space && key in made && key !== "list" && key !== "form") made[key] = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((one) => one !== null && one !== undefined));
  return made;
}

const find = (selector, within = document) => within.querySelector(selector);
const here = document.body.dataset;

// --- the state, in the address behind # ---

const state = {
  read: () => new URLSearchParams(location.hash.slice(1)),
  get: (key, otherwise = "") => state.read().get(key) ?? otherwise,
  list: (key) => state.get(key).split(",").filter(Boolean),
  /** Note values; "" and null remove. The address changes, the page does not move. */
  set(values) {
    const now = state.read();
    for (const [key, value] of Object.entries(values)) {
      if (value === "" || value === null || value === undefined || value === false) now.delete(key);
      else now.set(key, Array.isArray(value) ? value.join(",") : value === true ? "1" : String(value));
    }
    const text = now.toString();
    if (text !== location.hash.slice(1)) {
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    }
    carry();
  },
};

const CARRIED = ["q", "sort", "pick"]; // from page to page

/** Links between the pages of all runs take along which runs are looked at. */
function carry() {
  const now = state.read();
  const kept = new URLSearchParams(CARRIED.filter((key) => now.get(key)).map((key) => [key, now.get(key)]));
  for (const link of document.querySelectorAll("nav a[data-carry]")) {
    link.href = link.dataset.carry + (kept.toString() ? `#${kept}` : "");
  }
}

// --- numbers in words ---

const grouped = (value) => value.toLocaleString("en-US");

/** A number with four digits that matter. */
function spoken(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "" : String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return grouped(value);
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e6 || size < 1e-4) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** The last of sorted numbers that is at most `limit`, or the first; undefined of none. */
function atMost(sorted, limit) {
  let found = sorted[0];
  for (const one of sorted) if (one <= limit) found = one;
  return found;
}

// --- runs ---

/** The value of a run by a key: of the run itself, a metric, its config, or the end of a key of it. */
function valueOf(run, key) {
  if (key in ALIASES) return ALIASES[key](run);
  if (Object.hasOwn(run.numbers, key)) return run.numbers[key];
  if (Object.hasOwn(run.values, key)) return run.values[key];
  const inner = Object.keys(run.values).find((one) => one.endsWith(`.${key}`));
  return inner === undefined ? undefined : run.values[inner];
}

const ALIASES = {
  __proto__: null,
  run: (run) => run.label,
  model: (run) => run.model,
  config: (run) => run.values.name,
  step: (run) => run.step,
  steps: (run) => run.steps,
  minutes: (run) => (run.minutes === "" ? undefined : Number(run.minutes)),
  status: (run) => (run.done ? "done" : "not done"),
  commit: (run) => run.commit,
  tag: (run) => run.tags.join(" "),
  sheet: (run) => book.sheets.filter((one) => one.members.includes(run.id)).map((one) => one.name).join(" | "),
};

const HOW = ["seed", "preset", "steps", "batch", "log_every", "save_every"]; // said last

/** The keys of configs that differ among the runs that have them, hyperparameters first. */
function differing(runs) {
  const seen = new Map();
  for (const run of runs) {
    for (const [key, value] of Object.entries(run.values)) {
      if (!seen.has(key)) seen.set(key, new Set());
      seen.get(key).add(value);
    }
  }
  const rank = (key) => (key.startsWith("hyper.") ? 0 : HOW.includes(key) ? 2 + HOW.indexOf(key) : 1);
  const found = [...seen].filter(([key, values]) => values.size > 1 && !["room", "name"].includes(key));
  return found.map(([key]) => key).sort((a, b) => rank(a) - rank(b));
}

/** The metrics of runs, those that most runs have first. */
function measured(runs) {
  const seen = new Map();
  for (const run of runs) for (const key of Object.keys(run.numbers)) seen.set(key, (seen.get(key) ?? 0) + 1);
  const spread = (key) => Number(key.endsWith("_std")); // of another metric: last
  return [...seen].sort((a, b) => spread(a[0]) - spread(b[0]) || b[1] - a[1]).map(([key]) => key);
}

/** The same of runs of one model, whose configs have the same keys; by model. */
function differingByModel(runs) {
  const models = [...new Set(runs.map((run) => run.model))];
  return new Map(models.map((model) => [model, differing(runs.filter((run) => run.model === model))]));
}

/** What distinguishes a run among others of its model, in a few words: "margin 10, seed 1". */
function brief(run, byModel, but = "") {
  const told = byModel.get(run.model).filter((key) => key !== but && key in run.values).slice(0, 4);
  return told.map((key) => `${key.split(".").pop()} ${spoken(run.values[key])}`).join(", ");
}

/** Where the picture of a kind at a step lies. */
const pictureOf = (run, step, kind) => `files/${encodeURIComponent(`${run.slug}-${step}-${kind}`)}`;

/** Have a script of data run; `then` when it has. Pages from disk may fetch nothing else. */
function load(name, then) {
  const version = book.version ? `?${book.version}` : "";
  const script = el("script", { src: `data/${name}.js${here.live ? version : ""}` });
  script.addEventListener("load", () => { script.remove(); then(); });
  script.addEventListener("error", () => { script.remove(); then(); });
  document.head.append(script);
}

/** The log of a run, and then `then`; at once if it is known. */
function withLog(run, then) {
  const known = book.logs.get(run.id);
  if (known && known.version === run.version) { then(known); return; }
  load(`run-${run.slug}`, () => {
    const found = book.logs.get(run.id) ?? { id: run.id, events: [], rows: 0, images: 0, clock: [[], []], steps: [], lines: {} };
    found.version = run.version;
    book.logs.set(run.id, found);
    then(found);
  });
}

// what the scripts of data call
window.notebook = {
  runs(told) {
    Object.assign(book, told);
    book.byId = new Map(told.runs.map((run) => [run.id, run]));
  },
  log([about, log]) { book.logs.set(about.id, { ...about, ...log }); },
};

/** Have a page's part drawn now and whenever the data change. */
function view(draw) {
  book.views.push(draw);
  draw();
}

const pages = {}; // what each kind of page does once the runs are known

function start() {
  carry();
  load("runs", () => {
    (pages[here.page] ?? (() => {}))();
    document.body.classList.add("ready");
  });
}
document.addEventListener("DOMContentLoaded", start);
