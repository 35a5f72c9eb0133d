// Pictures through training: one slider over steps for all of them.

const PACE = 450; // milliseconds a step when playing

/** A slider over steps with a button that plays, moved by the arrow keys anywhere on the page. */
function stepper(place, steps, changed) {
  let timer = 0;
  let known = [];
  const slider = el("input", { type: "range", id: "step", min: 0, max: 0, value: 0, "aria-label": "Step of training" });
  const said = el("output", { htmlFor: "step", class: "step" });
  const play = el("button", { type: "button", class: "play", "aria-label": "Play", title: "Play (space)" }, "▶");
  place.replaceChildren(play, slider, said);
  const tell = () => {
    const step = known[Number(slider.value)] ?? 0;
    said.textContent = known.length ? `step ${grouped(step)}` : "no pictures";
    slider.setAttribute("aria-valuetext", said.textContent);
    return step;
  };
  const go = (index) => {
    slider.value = Math.min(Math.max(index, 0), known.length - 1);
    const last = Number(slider.value) === known.length - 1;
    state.set({ step: last ? null : known[Number(slider.value)] });
    changed(tell());
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  };
  const toggle = () => {
    if (timer) { stop(); return; }
    if (Number(slider.value) >= known.length - 1) go(0);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    timer = setInterval(() => {
      go(Number(slider.value) + 1);
      if (Number(slider.value) >= known.length - 1) stop();
    }, PACE);
  };
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  play.addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => {
    const inField = event.target.closest("input:not([type=checkbox]), select, textarea, [data-keys]");
    if (event.defaultPrevented || inField || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === " " && !event.target.closest("button, a, summary, video")) { event.preventDefault(); toggle(); }
    if (!(event.key in moves)) return;
    event.preventDefault();
    stop();
    go(Number(slider.value) + moves[event.key]);
  });
  return {
    /** Take the steps that there are now; the one that was shown stays, the last follows the last. */
    refresh() {
      const atEnd = !state.get("step");
      const now = Number(state.get("step"));
      known = steps();
      slider.max = Math.max(0, known.length - 1);
      slider.disabled = known.length < 2;
      play.disabled = known.length < 2;
      slider.value = atEnd ? known.length - 1 : Math.max(0, known.indexOf(atMost(known, now)));
      return tell();
    },
  };
}

/** All steps of pictures of a kind, in order. */
function stepsOf(runs, kind) {
  const found = new Set(runs.flatMap((run) => run.series.find((one) => one.kind === kind)?.steps ?? []));
  return [...found].sort((a, b) => a - b);
}

/** The kinds of pictures that runs have, those that most have first. */
function kindsOf(runs) {
  const seen = new Map();
  for (const run of runs) {
    for (const [rank, one] of run.series.entries()) {
      const known = seen.get(one.kind) ?? { kind: one.kind, words: one.words, count: 0, rank };
      known.count += 1;
      seen.set(one.kind, known);
    }
  }
  return [...seen.values()].sort((a, b) => b.count - a.count || a.rank - b.rank);
}

/** A select of kinds, kept in the address. */
function kindSelect(runs, changed) {
  const select = el("select", { id: "kind", "aria-label": "Kind of picture", onchange: () => { state.set({ kind: select.value }); changed(); } });
  const refresh = () => {
    const kinds = kindsOf(runs());
    const wish = state.get("kind");
    const now = kinds.some((one) => one.kind === wish) ? wish : kinds[0]?.kind ?? "";
    const names = kinds.map((one) => one.words);
    const text = (one) => (names.filter((name) => name === one.words).length > 1 ? one.kind : one.words);
    select.replaceChildren(...kinds.map((one) => el("option", { value: one.kind, selected: one.kind === now }, text(one))));
    select.hidden = kinds.length < 2;
    return now;
  };
  return { select, refresh };
}

/** A picture or film of a run that follows a step; `seen` has it load only when it comes in sight. */
class Tile {
  constructor(run, caption, link = true) {
    Object.assign(this, { run, step: null, near: false });
    this.media = el("div", { class: "media" });
    this.said = el("span", { class: "at" });
    const name = link ? el("a", { href: run.page }, run.label) : null;
    this.figure = el("figure", { class: "tile", "data-run": run.id }, this.media,
      el("figcaption", {}, name, this.said, caption ? el("span", { class: "faint" }, caption) : null));
  }

  /** Show the picture of a kind at a step, or at the nearest one before it. */
  turn(kind, step) {
    const steps = this.run.series.find((one) => one.kind === kind)?.steps ?? [];
    this.kind = kind;
    this.step = steps.length ? atMost(steps, step) : null;
    this.said.textContent = this.step === null ? "no picture" : `step ${grouped(this.step)}`;
    if (this.near) this.load();
  }

  load() {
    this.near = true;
    if (this.step === null) { this.media.replaceChildren(); this.shown = ""; return; }
    const source = pictureOf(this.run, this.step, this.kind);
    if (this.shown === source) return;
    this.shown = source;
    const said = `${this.run.label} at step ${grouped(this.step)}`;
    if (this.kind.endsWith(".mp4")) {
      this.media.replaceChildren(el("video", { src: source, controls: true, loop: true, muted: true, preload: "metadata", "aria-label": said }));
      return;
    }
    let image = find("img", this.media);
    if (!image) {
      image = el("img", { class: this.run.plot ? "plot" : null });
      this.media.replaceChildren(el("button", { type: "button", class: "enlarge", "aria-label": `Enlarge ${this.run.label}`, onclick: () => enlarge(this) }, image));
    }
    image.src = source;
    image.alt = said;
    enlarged(this);
  }
}

// --- one picture, large ---

let large = null;

function enlarge(tile) {
  const image = el("img", { class: tile.run.plot ? "plot" : null });
  const words = el("p", {});
  const dialog = el("dialog", { class: "large" }, image, words,
    el("p", {}, el("a", { href: tile.run.page }, "the run's page"), el("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  dialog.setAttribute("aria-label", tile.run.label);
  dialog.addEventListener("close", () => { dialog.remove(); large = null; });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  large = { tile, image, words };
  enlarged(tile);
  dialog.showModal();
}

/** Have the large picture follow its small one. */
function enlarged(tile) {
  if (large?.tile !== tile) return;
  large.image.src = tile.shown;
  large.image.alt = large.words.textContent = `${tile.run.label}, step ${grouped(tile.step)}`;
}

const sight = new IntersectionObserver((seen) => {
  for (const one of seen) {
    const tile = one.target.tile;
    tile.near = one.isIntersecting;
    if (tile.near) tile.load();
  }
}, { rootMargin: "400px" });

// --- all runs ---

pages.pictures = () => {
  const wall = find("#wall");
  const tiles = new Map();
  const runs = () => asked().filter((run) => run.series.length);
  const kind = kindSelect(runs, () => refresh());
  const control = stepper(find("#stepper"), () => stepsOf(runs(), kind.refresh()), (step) => {
    for (const tile of shown) tile.turn(kind.refresh(), step);
  });
  let shown = [];
  const size = el("select", { id: "size", "aria-label": "Size of pictures", onchange: () => { state.set({ size: size.value }); refresh(); } },
    ["small", "medium", "large"].map((one) => el("option", { value: one }, one)));
  const group = el("select", { id: "group", "aria-label": "Group by", onchange: () => { state.set({ group: group.value }); refresh(); } });
  find("#choices").replaceChildren(kind.select, el("label", {}, "Size", size), el("label", {}, "Group by", group));
  const bar = filterBar(find("#bar"), () => refresh());

  const refresh = () => {
    bar();
    const [now, all] = [kind.refresh(), runs()];
    const [keys, byModel] = [differing(all), differingByModel(all)];
    size.value = state.get("size", "medium");
    wall.dataset.size = size.value;
    const wish = state.get("group");
    group.replaceChildren(...["", "model", "tag", "sheet", ...keys].map((key) => el("option", { value: key, selected: key === wish }, key || "nothing")));
    const groups = new Map();
    for (const run of all) {
      const word = wish ? `${wish} = ${spoken(valueOf(run, wish)) || "none"}` : "";
      if (!groups.has(word)) groups.set(word, []);
      groups.get(word).push(run);
    }
    const step = control.refresh();
    shown = [];
    const parts = [...groups].sort((a, b) => collator.compare(a[0], b[0])).flatMap(([word, members]) => {
      const figures = members.map((run) => {
        const caption = brief(run, byModel, wish);
        const signature = `${run.version} ${caption}`;
        let tile = tiles.get(run.id);
        if (!tile || tile.signature !== signature) {
          const before = tile;
          tile = Object.assign(new Tile(run, caption), { signature });
          tile.figure.tile = tile;
          tiles.set(run.id, tile);
          if (before) { sight.unobserve(before.figure); tile.near = before.near; }
          sight.observe(tile.figure);
        }
        tile.turn(now, step);
        shown.push(tile);
        return tile.figure;
      });
      return [word ? el("h2", {}, word) : null, el("div", { class: "tiles" }, figures)];
    });
    wall.replaceChildren(...parts.filter(Boolean));
    if (!all.length) wall.replaceChildren(el("p", { class: "faint" }, "No pictures of these runs."));
  };
  view(refresh);
  window.addEventListener("hashchange", refresh);
};

// --- one run ---

pages.run = () => {
  const run = () => book.byId.get(here.run);
  if (!run()) return;
  const place = find("#through");
  if (place && run().series.length) {
    const stage = el("div", { class: "stage" });
    const bar = el("div", { class: "bar" });
    const controls = el("div", { class: "stepper" });
    place.replaceChildren(bar, stage);
    let tiles = [];
    const steps = () => [...new Set(run().series.flatMap((one) => one.steps))].sort((a, b) => a - b);
    const turn = (step) => { for (const [kind, tile] of tiles) tile.turn(kind, step); };
    const control = stepper(controls, steps, turn);
    bar.append(controls);
    const refresh = () => {
      const words = run().series.map((one) => one.kind).join();
      if (words !== stage.dataset.kinds) {
        tiles = run().series.map((one) => [one.kind, Object.assign(new Tile(run(), one.words, false), { near: true })]);
        stage.replaceChildren(...tiles.map(([, tile]) => tile.figure));
        stage.dataset.kinds = words;
      }
      for (const [, tile] of tiles) tile.run = run();
      turn(control.refresh());
    };
    view(refresh);
    window.addEventListener("hashchange", refresh);
  }
  const curves = find("#curves");
  if (curves) view(curvesPanel(curves, () => [run()].filter(Boolean)));
  view(films);
};
