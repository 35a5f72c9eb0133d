// Two runs side by side: a wipe over pictures of the same noise, and what differs between them.

const WAYS = { wipe: "wipe", beside: "side by side", difference: "difference" };

const sameNoise = (a, b) => a.values.seed === b.values.seed; // pictures are drawn from a run's seed

pages.compare = () => {
  const runs = () => {
    const all = [...picked(), ...book.runs.filter((run) => run.series.length), ...book.runs];
    const a = book.byId.get(state.get("a")) ?? all[0];
    const others = all.filter((run) => run !== a);
    const alike = others.find((run) => run.model === a.model && sameNoise(run, a));
    return [a, book.byId.get(state.get("b")) ?? alike ?? others[0] ?? a];
  };
  const both = () => runs().filter(Boolean);
  if (!book.runs.length) return;
  const chooser = (key, text) => el("select", { id: key, "aria-label": text, onchange: (event) => { const [a, b] = both(); state.set({ a: a.id, b: b.id, [key]: event.target.value }); refresh(); } });
  const [first, second] = [chooser("a", "First run"), chooser("b", "Second run")];
  const swap = el("button", { type: "button", "aria-label": "Swap the runs", title: "Swap", onclick: () => { const [a, b] = both(); state.set({ a: b.id, b: a.id }); refresh(); } }, "⇄");
  find("#two").replaceChildren(first, swap, second);

  const kind = kindSelect(both, () => refresh());
  const way = el("select", { id: "way", "aria-label": "How to compare", onchange: () => { state.set({ way: way.value }); refresh(); } },
    Object.entries(WAYS).map(([key, text]) => el("option", { value: key }, text)));
  const controls = el("div", { class: "stepper" });
  find("#choices").replaceChildren(controls, kind.select, way);
  const place = find("#wipe");
  const images = [el("img", {}), el("img", {})];
  const line = el("div", { class: "edge" });
  const stack = el("div", { class: "stack" }, images[0], images[1], line);
  const wipe = el("input", { type: "range", id: "wiper", min: 0, max: 100, step: 0.5, value: 50, "aria-label": "Wipe between the two pictures", "data-keys": "" });
  const captions = [el("span", {}), el("span", {})];
  const noise = el("p", { class: "faint" }, "Their seeds differ, and so does the noise of their pictures.");
  place.replaceChildren(stack, wipe, el("div", { class: "captions" }, captions), noise);
  const cut = () => {
    place.style.setProperty("--cut", `${wipe.value}%`);
  };
  wipe.addEventListener("input", cut);
  stack.addEventListener("pointermove", (event) => {
    const still = !event.movementX && !event.movementY; // the page moved under the pointer
    if (still || state.get("way", "wipe") !== "wipe" || (event.pointerType !== "mouse" && !event.buttons)) return;
    const box = stack.getBoundingClientRect();
    wipe.value = ((event.clientX - box.left) / box.width) * 100;
    cut();
  });

  const turn = (step) => {
    const now = kind.refresh();
    both().forEach((run, i) => {
      const steps = run.series.find((one) => one.kind === now)?.steps ?? [];
      const at = steps.length ? atMost(steps, step) : null;
      captions[i].textContent = `${run.label}, ${at === null ? "no picture of this kind" : `step ${grouped(at)}`}`;
      images[i].hidden = at === null;
      images[i].className = run.plot ? "plot" : "";
      images[i].alt = captions[i].textContent;
      if (at !== null) images[i].src = pictureOf(run, at, now);
    });
  };
  const control = stepper(controls, () => stepsOf(both(), kind.refresh()), turn);

  const rows = (title, keys, get) => {
    const [a, b] = both();
    const found = keys.map((key) => [key, get(a, key), get(b, key)]);
    const text = (value) => (value === undefined ? "not there" : value === null ? "none" : spoken(value));
    const differ = found.filter(([, x, y]) => JSON.stringify(x) !== JSON.stringify(y));
    const equal = found.length - differ.length;
    if (!found.length) return [];
    return [
      el("h2", {}, title),
      differ.length ? el("div", { class: "wide", tabIndex: 0 }, el("table", {}, el("thead", {}, el("tr", {}, ["key", a.label, b.label].map((one) => el("th", { scope: "col", class: "words" }, one)))),
        el("tbody", {}, differ.map(([key, x, y]) => el("tr", {}, el("th", { scope: "row", class: "words" }, key), el("td", { class: "words" }, text(x)), el("td", { class: "words" }, text(y))))))) : null,
      el("p", { class: "faint" }, `${grouped(equal)} of ${grouped(found.length)} are equal.`),
    ].filter(Boolean);
  };

  const curves = curvesPanel(find("#curves"), both);
  const refresh = () => {
    const [a, b] = both();
    for (const [select, run] of [[first, a], [second, b]]) {
      select.replaceChildren(...book.runs.map((one) => el("option", { value: one.id, selected: one === run }, one.label)));
    }
    noise.hidden = sameNoise(a, b);
    way.value = state.get("way", "wipe");
    place.dataset.way = way.value;
    place.hidden = !stepsOf(both(), kind.refresh()).length;
    cut();
    turn(control.refresh());
    const union = (part) => [...new Set([...Object.keys(a[part]), ...Object.keys(b[part])])].sort(collator.compare);
    find("#configs").replaceChildren(...rows("Difference of the configs", union("values"), (run, key) => run.values[key]));
    find("#metrics").replaceChildren(...rows("Difference of what was measured", union("numbers"), (run, key) => run.numbers[key]));
    curves();
  };
  view(refresh);
  window.addEventListener("hashchange", refresh);
};
