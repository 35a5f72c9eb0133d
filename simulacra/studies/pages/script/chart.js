// One chart: the lines of a scalar of several runs in SVG, zoomed by dragging, buttons or keys.

const HIGH = 190;
const EDGE = { left: 54, right: 10, top: 10, bottom: 24 };

/** Round numbers between two ends, about `wish` of them; powers of ten where they are logarithms. */
function ticks(low, high, wish, log) {
  if (log) {
    const whole = [];
    const each = Math.max(1, Math.ceil((high - low) / wish));
    for (let i = Math.ceil(low - 1e-9); i <= high + 1e-9; i += each) whole.push(i);
    if (whole.length > 1) return whole.map((one) => [one, 10 ** one]);
    return ticks(10 ** low, 10 ** high, wish, false).filter(([at]) => at > 0).map(([at]) => [Math.log10(at), at]);
  }
  const raw = (high - low) / wish || 1;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = size * [1, 2, 5, 10].find((one) => one * size >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && found.length < 50; i += 1) {
    found.push([i * step, i * step]);
  }
  return found;
}

/** A label of an axis: 1,200 or 12k, 0.25 or 3e-5. */
function label(value) {
  const size = Math.abs(value);
  if (size >= 1e4 && size < 1e9) return size >= 1e6 ? `${Number((value / 1e6).toPrecision(3))}M` : `${Number((value / 1e3).toPrecision(3))}k`;
  if (size && (size >= 1e9 || size < 1e-3)) return value.toExponential(0).replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}

/** A line drawn over itself in at most two points a pixel, so that long logs draw fast. */
function path(xs, ys, width) {
  const out = [];
  const draw = (x, y) => out.push(`${out.length ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
  if (xs.length <= 2 * width) {
    xs.forEach((x, i) => draw(x, ys[i]));
    return out.join("");
  }
  for (let i = 0; i < xs.length;) {
    const pixel = Math.floor(xs[i]);
    let [low, high] = [i, i];
    for (; i < xs.length && Math.floor(xs[i]) === pixel; i += 1) {
      if (ys[i] < ys[low]) low = i;
      if (ys[i] > ys[high]) high = i;
    }
    for (const one of low < high ? [low, high] : [high, low]) draw(xs[one], ys[one]);
  }
  return out.join("");
}

/** Averages that weigh the past by `weight` a point, without the pull of the beginning to zero. */
function smoothed(values, weight) {
  if (!weight) return values;
  let [sum, norm] = [0, 0];
  return values.map((value) => {
    sum = sum * weight + value * (1 - weight);
    norm = norm * weight + 1 - weight;
    return sum / norm;
  });
}

/** A scalar's chart. `look` is what all charts share: {log: {x, y}, smooth, calm, unit, window, turn}. */
class Chart {
  constructor(name, look) {
    Object.assign(this, { name, look, lines: [], width: 0 });
    this.readout = el("span", { class: "readout" });
    this.svg = el("svg:svg", { class: "chart", role: "img", tabindex: "0", height: HIGH });
    this.figure = el("figure", { class: "curve", "data-scalar": name },
      el("figcaption", {}, el("strong", {}, name), this.readout), this.svg);
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("pointerdown", (event) => this.drag(event));
    this.svg.addEventListener("pointermove", (event) => this.look.point(this.at(event)));
    this.svg.addEventListener("pointerleave", () => this.look.point(null));
    this.svg.addEventListener("dblclick", () => this.look.turn(null));
  }

  /** Show lines: [{run, colour, x: [...], y: [...], events}]. */
  show(lines) {
    this.lines = lines;
    this.draw();
  }

  draw() {
    this.width = Math.max(160, Math.round(this.figure.clientWidth || 320));
    this.svg.setAttribute("width", this.width);
    const parts = this.lines.map((line) => this.prepared(line)).filter((one) => one.x.length);
    this.parts = parts;
    this.frame(parts);
    const marks = parts.length <= 6 ? parts.flatMap((part) => this.marks(part)) : [];
    const lines = parts.flatMap((part) => this.line(part));
    this.cross = el("svg:line", { class: "cross", y1: EDGE.top, y2: HIGH - EDGE.bottom, visibility: "hidden" });
    this.brush = el("svg:rect", { class: "brush", y: EDGE.top, height: HIGH - EDGE.top - EDGE.bottom, visibility: "hidden" });
    const clip = `clip-${[...this.name].map((one) => one.codePointAt(0).toString(36)).join("")}`;
    const inside = el("svg:clipPath", { id: clip }, el("svg:rect", {
      x: EDGE.left, y: 0, width: this.width - EDGE.left - EDGE.right, height: HIGH - EDGE.bottom + 1,
    }));
    const body = el("svg:g", { "clip-path": `url(#${clip})` }, marks, lines);
    this.svg.replaceChildren(el("svg:defs", {}, inside), ...this.axes(), body, this.brush, this.cross);
    const said = this.lines.map((line) => line.run.label).join(", ");
    this.svg.setAttribute("aria-label", `${this.name} over ${this.look.unit}: ${said}. Plus and minus zoom, arrows move, 0 shows all.`);
    this.tell(null);
  }

  /** A line as it is drawn: on its axes' scale, smooth beside raw. */
  prepared(line) {
    const { log } = this.look;
    const keep = line.x.map((x, i) => (!log.x || x > 0) && (!log.y || line.y[i] > 0));
    const x = line.x.filter((_, i) => keep[i]).map((one) => (log.x ? Math.log10(one) : one));
    const raw = line.y.filter((_, i) => keep[i]);
    const smooth = smoothed(raw, this.look.smooth);
    const scale = (values) => (log.y ? values.map((one) => Math.log10(one)) : values);
    return { ...line, x, raw: scale(raw), y: scale(smooth), value: smooth };
  }

  /** The ends of both axes: those that are zoomed to, and what is seen between them. */
  frame(parts) {
    const all = parts.flatMap((part) => [part.x[0], part.x[part.x.length - 1]]);
    const [first, last] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
    this.full = [first, last > first ? last : first + 1];
    const window = this.look.window;
    [this.x0, this.x1] = window ? [window[0], window[1]] : this.full;
    let seen = parts.flatMap((part) => part.y.filter((_, i) => part.x[i] >= this.x0 && part.x[i] <= this.x1));
    if (!seen.length) seen = [0, 1];
    seen.sort((a, b) => a - b);
    const cut = this.look.calm ? Math.floor(seen.length * 0.02) : 0;
    const [low, high] = [seen[cut], seen[seen.length - 1 - cut]];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 0.5;
    [this.y0, this.y1] = [low - room, high + room];
  }

  px(x) { return EDGE.left + ((x - this.x0) / (this.x1 - this.x0)) * (this.width - EDGE.left - EDGE.right); }
  py(y) { return HIGH - EDGE.bottom - ((y - this.y0) / (this.y1 - this.y0)) * (HIGH - EDGE.top - EDGE.bottom); }

  axes() {
    const bottom = HIGH - EDGE.bottom;
    const across = ticks(this.x0, this.x1, this.width / 90, this.look.log.x).map(([at, value]) => [this.px(at), label(value)]);
    const up = ticks(this.y0, this.y1, 4, this.look.log.y).map(([at, value]) => [this.py(at), label(value)]);
    return [
      ...up.map(([y]) => el("svg:line", { class: "grid", x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y })),
      el("svg:line", { class: "axis", x1: EDGE.left, x2: this.width - EDGE.right, y1: bottom, y2: bottom }),
      ...up.map(([y, text]) => el("svg:text", { x: EDGE.left - 7, y: y + 4, "text-anchor": "end" }, text)),
      ...across.map(([x, text]) => el("svg:text", { x, y: bottom + 17, "text-anchor": "middle" }, text)),
    ];
  }

  line(part) {
    const xs = part.x.map((x) => this.px(x));
    const draw = (ys, name) => el("svg:path", {
      class: `${name} c${part.colour}`, d: path(xs, ys.map((y) => this.py(y)), this.width), "data-run": part.run.id,
    });
    return [...(this.look.smooth ? [draw(part.raw, "raw")] : []), draw(part.y, "line")];
  }

  /** What happened in a run: from where to where, with words. */
  marks(part) {
    const end = part.x[part.x.length - 1];
    const scale = (step) => { const x = part.unit(step); return this.look.log.x ? Math.log10(Math.max(x, 1e-9)) : x; };
    const band = this.parts.length <= 2; // of more runs only the beginnings, or all is tinted
    return part.events.flatMap((one) => {
      const [a, b] = [this.px(scale(one.began)), this.px(one.ended === null ? end : scale(one.ended))];
      const words = el("svg:title", {}, told(one, part.run));
      return [
        band && el("svg:rect", { class: `spell c${part.colour}`, x: a, y: EDGE.top, width: Math.max(0, b - a), height: HIGH - EDGE.top - EDGE.bottom }),
        el("svg:path", { class: `event c${part.colour}`, d: `M${a - 5} ${EDGE.top - 8}h10l-5 8z` }, words),
        el("svg:line", { class: `event c${part.colour}`, x1: a, x2: a, y1: EDGE.top, y2: HIGH - EDGE.bottom }),
      ].filter(Boolean);
    });
  }

  // --- the pointer and the keys ---

  at(event) {
    const box = this.svg.getBoundingClientRect();
    const inside = Math.min(Math.max(event.clientX - box.left, EDGE.left), this.width - EDGE.right);
    return this.x0 + ((inside - EDGE.left) / (this.width - EDGE.left - EDGE.right)) * (this.x1 - this.x0);
  }

  /** What the lines are at a place, where the pointer is over any chart. */
  tell(x) {
    const shown = x !== null && x >= this.x0 && x <= this.x1;
    this.cross?.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) for (const end of ["x1", "x2"]) this.cross.setAttribute(end, this.px(x));
    const parts = (this.parts ?? []).slice(0, COLOURS);
    this.readout.replaceChildren(...parts.map((part) => {
      let i = part.x.length - 1;
      if (shown) { i = part.x.findIndex((one) => one >= x); if (i < 0) i = part.x.length - 1; }
      return el("span", { title: part.run.label }, el("i", { class: `dot c${part.colour}` }), spoken(part.value[i]));
    }));
  }

  drag(event) {
    if (event.button !== 0) return;
    const [from, left] = [this.at(event), event.clientX];
    let to = from;
    this.svg.setPointerCapture(event.pointerId);
    const move = (moved) => {
      to = this.at(moved);
      const [a, b] = [this.px(Math.min(from, to)), this.px(Math.max(from, to))];
      this.brush.setAttribute("x", a);
      this.brush.setAttribute("width", b - a);
      this.brush.setAttribute("visibility", "visible");
    };
    const up = (ended) => {
      this.svg.removeEventListener("pointermove", move);
      this.svg.removeEventListener("pointercancel", up);
      this.brush.setAttribute("visibility", "hidden");
      const far = Math.abs(ended.clientX - left) > 6 && ended.type === "pointerup";
      if (far) this.look.turn([Math.min(from, to), Math.max(from, to)]);
    };
    this.svg.addEventListener("pointermove", move);
    this.svg.addEventListener("pointerup", up, { once: true });
    this.svg.addEventListener("pointercancel", up, { once: true });
  }

  key(event) {
    const turns = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all", Escape: "all", Home: "all" };
    if (!(event.key in turns) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.look.turn(turned(turns[event.key], [this.x0, this.x1], this.full));
  }
}

/** A window after a turn in, out, left, right or to all (null), inside of `full`. */
function turned(how, [a, b], full) {
  const wide = b - a;
  if (how === "all") return null;
  const factor = how === "in" ? 0.6 : how === "out" ? 1 / 0.6 : 1;
  const shift = { left: -0.25 * wide, right: 0.25 * wide }[how] ?? 0;
  const size = Math.min(wide * factor, full[1] - full[0]);
  const start = Math.min(Math.max((a + b - size) / 2 + shift, full[0]), full[1] - size);
  return size >= (full[1] - full[0]) * 0.999 ? null : [start, start + size];
}

/** An event in words. */
function told(one, run) {
  const until = one.name === "went back" ? "" : one.ended === null ? ", to the end" : `, ${one.over} at ${grouped(one.ended)}`;
  return `${run.label}: ${one.name} at step ${grouped(one.began)}${until}: ${one.says}`;
}
