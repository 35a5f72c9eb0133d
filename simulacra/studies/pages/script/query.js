// Which runs are meant: words, key=value, key>number, tag:word, -word; and in which order.

const TERM = /(-?)(?:([\w.:\[\]-]*?[\w\]])(!=|>=|<=|=|>|<|:))?("([^"]*)"|\S+)/gu;

/** The terms of a query: {not, key, sign, word}. */
function terms(text) {
  return [...text.matchAll(TERM)].map(([, not, key, sign, plain, quoted]) => ({
    not: Boolean(not), key: key ?? "", sign: sign ?? "", word: quoted ?? plain,
  }));
}

/** Whether a value is what a term asks for. Numbers compare as numbers. */
function meets(value, sign, word) {
  const number = Number(word);
  const numeric = word.trim() !== "" && !Number.isNaN(number);
  if ([">", "<", ">=", "<="].includes(sign)) {
    if (typeof value !== "number" || !numeric) return false;
    return { ">": value > number, "<": value < number, ">=": value >= number, "<=": value <= number }[sign];
  }
  const equal = typeof value === "number" && numeric
    ? value === number
    : String(value ?? "").toLowerCase() === word.toLowerCase();
  if (sign === "!=") return !equal;
  return equal || (sign === ":" && String(value ?? "").toLowerCase().includes(word.toLowerCase()));
}

/** Whether a run meets a term. */
function holds(run, { not, key, sign, word }) {
  const plain = () => [run.label, run.model, run.values.name, run.values.preset, run.tags.join(" "), run.remarks]
    .join(" ").toLowerCase().includes(word.toLowerCase());
  if (!key) return plain() !== not;
  const found = key === "tag" || key === "sheet"
    ? (key === "tag" ? run.tags : valueOf(run, "sheet").split(" | ")).map((one) => meets(one, sign, word))
    : [meets(valueOf(run, key), sign, word)];
  return (sign === "!=" ? found.every(Boolean) : found.some(Boolean)) !== not;
}

/** The runs that meet all of a query, in the order that the address asks for. */
function asked() {
  const wanted = terms(state.get("q"));
  return sorted(book.runs.filter((run) => wanted.every((term) => holds(run, term))));
}

/** Keys of a query that no run has. */
function unknown() {
  const keys = terms(state.get("q")).map((term) => term.key).filter(Boolean);
  return keys.filter((key) => !(key in ALIASES) && !book.runs.some((run) => valueOf(run, key) !== undefined));
}

const collator = new Intl.Collator("en", { numeric: true });

function sorted(runs) {
  const wish = state.get("sort");
  if (!wish) return [...runs];
  const [key, sign] = wish.startsWith("-") ? [wish.slice(1), -1] : [wish, 1];
  return runs
    .map((run) => [valueOf(run, key), run])
    .sort(([a], [b]) => {
      const [lacksA, lacksB] = [a, b].map((one) => one === undefined || one === null || one === "");
      if (lacksA || lacksB) return lacksA - lacksB; // what is not known comes last
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
    })
    .map(([, run]) => run);
}

/** The runs that are picked, in the order of picking. */
const picked = () => state.list("pick").map((id) => book.byId.get(id)).filter(Boolean);

/** The field in which a query is written, and how many runs meet it; `changed` when it does. */
function filterBar(place, changed) {
  const keys = [...new Set([...Object.keys(ALIASES), ...measured(book.runs), ...differing(book.runs)])];
  const field = el("input", {
    type: "search", id: "filter", value: state.get("q"), placeholder: "margin=10  model=ebgan  step>1000",
    autocomplete: "off", spellcheck: false, list: "keys",
    oninput: () => { state.set({ q: field.value }); changed(); },
  });
  field.setAttribute("list", "keys");
  const count = el("output", { class: "faint", htmlFor: "filter" });
  const chips = el("span", { class: "chips" });
  place.replaceChildren(
    el("label", { class: "filter" }, el("span", {}, "Filter"), field),
    el("datalist", { id: "keys" }, keys.map((key) => el("option", { value: `${key}=` }))),
    count, chips,
  );
  const toggle = (text) => {
    const now = field.value.trim();
    const without = now.split(/\s+(?=(?:[^"]*"[^"]*")*[^"]*$)/u).filter((one) => one !== text);
    field.value = now.includes(text) ? without.join(" ") : `${now} ${text}`.trim();
    state.set({ q: field.value });
    changed();
  };
  return () => {
    if (document.activeElement !== field) field.value = state.get("q");
    const strange = unknown();
    count.textContent = strange.length
      ? `no run has the key ${strange.join(", ")}`
      : `${grouped(asked().length)} of ${grouped(book.runs.length)} runs`;
    const quoted = (word) => (/\s/u.test(word) ? `"${word}"` : word);
    const of = (key, values) => [...new Set(values)].sort(collator.compare).slice(0, 12).map((one) => `${key}=${quoted(one)}`);
    const models = of("model", book.runs.map((run) => run.model));
    const found = [...(models.length > 1 ? models : []), ...of("tag", book.runs.flatMap((run) => run.tags))];
    chips.replaceChildren(...found.map((text) => el("button", {
      type: "button", class: "chip", "aria-pressed": String(field.value.includes(text)), onclick: () => toggle(text),
    }, text.replace("=", " "))));
  };
}
