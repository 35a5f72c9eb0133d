// Charts of all scalars of some runs, with what is common to them: the axes, smoothing, the legend.

const MOST_LINES = 12; // runs over each other, if nobody picks
const UNITS = { step: "steps", images: "images", seconds: "seconds" };

/** x of a step in the unit that is asked for. Seconds lie between those that the clock noted. */
function converted(log, unit) {
  if (unit === "images") return (step) => step * log.images;
  if (unit !== "seconds") return (step) => step;
  const [steps, seconds] = log.clock;
  return (step) => {
    if (!steps.length) return NaN;
    let i = steps.findIndex((one) => one >= step);
    if (i < 0) return seconds[seconds.length - 1];
    if (i === 0 || steps[i] === step) return seconds[i];
    const share = (step - steps[i - 1]) / (steps[i] - steps[i - 1]);
    return seconds[i - 1] + share * (seconds[i] - seconds[i - 1]);
  };
}

/** Charts in a place, of the runs that `which` names. Returns what draws them anew. */
function curvesPanel(place, which) {
  const charts = new Map();
  const hidden = new Set();
  const bar = el("div", { class: "bar" });
  const legend = el("ul", { class: "legend" });
  const grid = el("div", { class: "curves" });
  const events = el("ul", { class: "events" });
  const note = el("p", { class: "faint" });
  place.replaceChildren(bar, legend, note, grid, events);
  let lines = [];

  const look = {
    get unit() { return state.get("x", "step"); },
    get log() { return { x: Boolean(state.get("lx")), y: Boolean(state.get("ly")) }; },
    get smooth() { return Number(state.get("smooth", "0")) || 0; },
    get calm() { return Boolean(state.get("calm")); },
    get window() {
      const ends = state.get("zoom").split(":").map(Number);
      return ends.length === 2 && ends.every(Number.isFinite) && ends[0] < ends[1] ? ends : null;
    },
    turn(window) {
      state.set({ zoom: window ? window.map((one) => Number(one.toPrecision(6))).join(":") : null });
      redraw();
    },
    point(x) { for (const chart of charts.values()) chart.tell(x); },
  };

  const redraw = () => {
    for (const chart of charts.values()) chart.draw();
    zoomed.disabled = !look.window;
  };
  const zoom = (how) => {
    const chart = [...charts.values()].find((one) => one.parts?.length);
    if (chart) look.turn(turned(how, [chart.x0, chart.x1], chart.full));
  };
  const button = (text, said, how) => el("button", { type: "button", title: said, "aria-label": said, onclick: () => zoom(how) }, text);
  const zoomed = button("Reset", "Show all of the curves", "all");
  const check = (key, text) => el("label", {}, el("input", {
    type: "checkbox", checked: Boolean(state.get(key)), "data-key": key,
    onchange: (event) => { state.set({ [key]: event.target.checked, zoom: key === "lx" ? null : state.get("zoom") }); redraw(); },
  }), text);
  const weight = el("output", {}, state.get("smooth", "0"));
  const smooth = el("input", {
    type: "range", min: 0, max: 0.98, step: 0.02, value: state.get("smooth", "0"), "aria-label": "Smoothing", id: "smooth",
    oninput: () => { state.set({ smooth: smooth.value === "0" ? null : smooth.value }); weight.textContent = smooth.value; redraw(); },
  });
  const unit = el("select", {
    id: "unit", "aria-label": "Horizontal axis",
    onchange: () => { state.set({ x: unit.value === "step" ? null : unit.value, zoom: null }); fill(); },
  }, Object.entries(UNITS).map(([key, text]) => el("option", { value: key, selected: key === look.unit }, text)));
  const only = el("input", {
    type: "search", value: state.get("only"), placeholder: "loss", "aria-label": "Scalars whose names hold", size: 10,
    oninput: () => { state.set({ only: only.value }); fill(); },
  });
  bar.append(
    el("label", {}, "Over", unit), el("label", {}, "Smooth", smooth, weight),
    check("lx", "log x"), check("ly", "log y"), check("calm", "without outliers"), el("label", {}, "Scalars", only),
    el("span", { class: "group" }, button("+", "Zoom in", "in"), button("−", "Zoom out", "out"),
      button("←", "Move left", "left"), button("→", "Move right", "right"), zoomed),
  );

  /** The lines of a scalar: one of each run that has it. */
  const linesOf = (name) => lines.filter((one) => !hidden.has(one.run.id) && one.log.lines[name]).map((one) => {
    const [own, values] = one.log.lines[name];
    const steps = own ?? one.log.steps;
    const unitOf = converted(one.log, look.unit);
    const x = steps.map(unitOf);
    const known = x.map(Number.isFinite);
    return {
      run: one.run, colour: one.colour, events: one.log.events, unit: unitOf,
      x: x.filter((_, i) => known[i]), y: values.filter((_, i) => known[i]),
    };
  });

  const fill = () => {
    const word = state.get("only").toLowerCase();
    const names = [...new Set(lines.flatMap((one) => Object.keys(one.log.lines)))].filter((name) => name.toLowerCase().includes(word));
    for (const [name, chart] of charts) if (!names.includes(name)) { chart.figure.remove(); charts.delete(name); }
    for (const name of names) {
      if (!charts.has(name)) {
        charts.set(name, new Chart(name, look));
        grid.append(charts.get(name).figure);
        sizes.observe(charts.get(name).figure);
      }
      charts.get(name).show(linesOf(name));
    }
    const long = lines.filter((one) => one.log.steps.length < one.log.rows);
    note.textContent = long.length
      ? `Of logs of more than 1,000 rows the highest and the lowest values are drawn.`
      : lines.length ? "" : "Nothing is logged.";
    zoomed.disabled = !look.window;
  };
  const sizes = new ResizeObserver((seen) => {
    for (const one of seen) {
      const chart = charts.get(one.target.dataset.scalar);
      if (chart && Math.abs(chart.width - Math.round(one.contentRect.width)) > 1) chart.draw();
    }
  });

  const label = () => {
    const keys = differingByModel(lines.map((one) => one.run));
    legend.hidden = lines.length < 2;
    legend.replaceChildren(...lines.map((one) => el("li", {}, el("button", {
      type: "button", class: "chip", "aria-pressed": String(!hidden.has(one.run.id)), title: "Show or hide",
      onclick: () => { if (!hidden.delete(one.run.id)) hidden.add(one.run.id); label(); fill(); },
    }, el("i", { class: `dot c${one.colour}` }), one.run.label), el("a", { href: one.run.page }, brief(one.run, keys) || "page"))));
    const happened = lines.flatMap((one) => one.log.events.map((what) => [one, what]));
    events.hidden = !happened.length;
    events.replaceChildren(...happened.slice(0, 60).map(([one, what]) => el("li", {}, el("i", { class: `dot c${one.colour}` }), told(what, one.run))));
  };

  return () => {
    const runs = which();
    const next = runs.map((run, i) => ({ run, colour: i % COLOURS, log: book.logs.get(run.id) ?? null }));
    lines = next.filter((one) => one.log);
    label();
    fill();
    for (const one of next) {
      if (one.log && one.log.version === one.run.version) continue;
      withLog(one.run, (log) => {
        one.log = log;
        if (next.some((other) => !other.log)) return; // all are drawn at once
        lines = next;
        label();
        fill();
      });
    }
  };
}

pages.curves = () => {
  const place = find("#curves");
  const chosen = () => (picked().length ? picked() : asked()).slice(0, MOST_LINES);
  const draw = curvesPanel(place, chosen);
  const said = find("#chosen");
  const bar = filterBar(find("#bar"), () => { state.set({ pick: null }); refresh(); });
  const refresh = () => {
    bar();
    const [all, shown] = [picked().length || asked().length, chosen().length];
    said.textContent = picked().length ? `The ${shown} runs picked in the table.` : all > shown ? `The first ${shown} of ${grouped(all)} runs; pick others in the table.` : "";
    draw();
  };
  view(refresh);
  window.addEventListener("hashchange", refresh);
};
