// The table of all runs: columns, order, picks.

const MOST_KEYS = 5; // of configs, that are columns unless others are asked for
const MOST_METRICS = 4;

/** The columns: keys of runs that are asked for, or what differs and what is measured. */
function columns() {
  if (state.get("cols")) return state.list("cols");
  const within = new Set([...differingByModel(book.runs).values()].flat());
  const keys = differing(book.runs).filter((key) => key !== "steps" && within.has(key));
  const wholes = ["model", "config"].filter((key) => new Set(book.runs.map(ALIASES[key])).size > 1);
  return [...wholes, ...keys.slice(0, MOST_KEYS), ...measured(book.runs).slice(0, MOST_METRICS)];
}

pages.index = () => {
  const place = find("#table");
  const bar = filterBar(find("#bar"), () => refresh());
  const chooser = find("#columns");
  const picks = find("#picks");

  const head = (key, text, numeric) => {
    const wish = state.get("sort");
    const way = wish === key ? "ascending" : wish === `-${key}` ? "descending" : "none";
    const turn = { none: numeric ? `-${key}` : key, ascending: numeric ? null : `-${key}`, descending: numeric ? key : null }[way];
    return el("th", { "aria-sort": way, class: numeric ? "number" : "words", scope: "col" }, el("button", {
      type: "button", title: `Sort by ${text}`, onclick: () => { state.set({ sort: turn }); refresh(); find(`[data-head="${CSS.escape(key)}"]`)?.focus(); }, "data-head": key,
    }, text, el("span", { class: "arrow", "aria-hidden": "true" }, { ascending: " ↑", descending: " ↓", none: "" }[way])));
  };

  const pick = (run, on) => {
    const others = state.list("pick").filter((id) => id !== run.id);
    state.set({ pick: on ? [...others, run.id] : others });
    tellPicks();
  };

  const tellPicks = () => {
    const found = picked();
    picks.hidden = !found.length;
    const hash = `#${new URLSearchParams({ pick: found.map((run) => run.id).join(",") })}`;
    picks.replaceChildren(el("span", {}, `${found.length} picked`), el("a", { href: `curves.html${hash}` }, "curves over each other"),
      found.length > 1 ? el("a", { href: `compare.html#${new URLSearchParams({ a: found[0].id, b: found[1].id })}` }, "the first two side by side") : null,
      el("button", { type: "button", onclick: () => { state.set({ pick: null }); refresh(); } }, "none"));
  };

  const cell = (run, key) => {
    const value = valueOf(run, key);
    const number = typeof value === "number";
    return el("td", { class: number ? "number" : "words" }, key === "tag" ? run.tags.join(", ") : spoken(value));
  };

  const row = (run, keys) => {
    const marked = state.list("pick").includes(run.id);
    const look = run.series[0];
    const step = look?.steps[look.steps.length - 1];
    const still = look && !look.kind.endsWith(".mp4");
    return el("tr", { "data-run": run.id },
      el("td", {}, el("input", { type: "checkbox", checked: marked, "aria-label": `Pick ${run.label}`, onchange: (event) => pick(run, event.target.checked) })),
      el("td", { class: "look" }, still ? el("img", { src: pictureOf(run, step, look.kind), alt: "", loading: "lazy", class: run.plot ? "plot" : null, width: 40, height: 40 }) : null),
      el("td", { class: "words name" }, el("a", { href: run.page }, run.label), run.tags.length ? el("span", { class: "tags" }, run.tags.join(", ")) : null),
      el("td", { class: "number" }, run.done ? grouped(run.step) : `${grouped(run.step)} of ${grouped(run.steps)}`),
      el("td", { class: "number" }, run.minutes),
      keys.map((key) => cell(run, key)));
  };

  const choose = (keys) => {
    const every = [...new Set([...Object.keys(ALIASES).filter((key) => !["run", "step", "minutes"].includes(key)), ...measured(book.runs), ...Object.keys(Object.assign({}, ...book.runs.map((run) => run.values)))])];
    chooser.replaceChildren(...every.map((key) => el("label", {}, el("input", {
      type: "checkbox", checked: keys.includes(key),
      onchange: (event) => { state.set({ cols: event.target.checked ? [...columns(), key] : columns().filter((one) => one !== key) }); refresh(); },
    }), key)));
  };

  const refresh = () => {
    bar();
    const [runs, keys] = [asked(), columns()];
    const numeric = (key) => book.runs.some((run) => typeof valueOf(run, key) === "number");
    const short = (key) => { const end = key.split(".").pop(); return keys.filter((one) => one.split(".").pop() === end).length > 1 ? key : end; };
    const broken = state.get("q") ? [] : book.broken;
    place.replaceChildren(
      el("thead", {}, el("tr", {}, el("th", {}, el("span", { class: "hidden" }, "picked")), el("th", {}, el("span", { class: "hidden" }, "picture")),
        head("run", "run"), head("step", "step", true), head("minutes", "minutes", true), keys.map((key) => head(key, short(key), numeric(key))))),
      el("tbody", {}, runs.map((run) => row(run, keys)), broken.map((one) => el("tr", { class: "broken" },
        el("td", {}), el("td", {}), el("td", { class: "words name" }, one.name), el("td", { class: "words", colSpan: 2 + keys.length }, `broken: ${one.why}`)))));
    if (document.activeElement?.closest("#columns") === null) choose(keys);
    tellPicks();
  };
  view(refresh);
  window.addEventListener("hashchange", refresh);
};
