// The page of a world: one dream, who drives it, and what the memory expects.

const AHEAD = 6; // futures that are shown
const dream = new Dream(machine, told);
const hands = new Hands(told.controls);
const luck = new Luck(Date.now());
const clock = new Clock($("clock"));
const film = new Recorder($("record"), () => 1 / +$("pace").value);
const shown = { who: "person", going: false, over: false, start: 0, rewards: [], action: null, owed: 0, last: 0, turn: 0, late: 0 };
const steps = Math.max(1, Math.round(told.rate / 2)); // that futures are ahead

const futures = Array.from({ length: AHEAD }, () => {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas"), words = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "A picture that the memory expects");
  figure.append(canvas, words);
  $("futures").append(figure);
  return { canvas, words };
});
const bars = (told.controls.axes.length ? told.controls.axes : told.controls.choices).map((one) => {
  const row = document.createElement("div"), track = document.createElement("span"), fill = document.createElement("i");
  row.append(one.name, track);
  track.append(fill);
  $("action").append(row);
  return { ...one, fill };
});

/** Show the dream's picture, and keep it if a film is recorded. */
function look() {
  film.add(paint($("stage"), dream.picture(dream.now.z)));
}

/** What whoever drives does at a place. */
function chosen(place) {
  return shown.who === "agent" ? dream.agent.act(place.z, place.h) : shown.action;
}

/** Begin again at the next recorded place. */
function again() {
  dream.reset(shown.start++);
  Object.assign(shown, { over: false, rewards: [], owed: 0 });
  hands.values = told.controls.axes.map((axis) => axis.rest);
  shown.action = hands.action();
  $("veil").hidden = shown.going;
  look();
  tellNumbers({ reward: 0, end: 0 });
}

function go(who) {
  if (who) drive(who);
  if (shown.over) again();
  shown.going = true;
  $("veil").hidden = true;
  $("pause").textContent = "Pause";
}

function pause() {
  shown.going = false;
  $("pause").textContent = "Go on";
}

function drive(who) {
  shown.who = who;
  document.querySelector(`input[name=who][value=${who}]`).checked = true;
}

/** One step of the dream. */
function step() {
  const mine = hands.action();
  shown.action = shown.who === "agent" ? dream.agent.act(dream.now.z, dream.now.h) : mine;
  const found = dream.step(shown.action, luck.ofStep(dream.columns, told.form.z_size));
  shown.rewards.push(found.reward);
  if (shown.rewards.length > 240) shown.rewards.shift();
  tellNumbers(found);
  if (found.ended && $("ends").checked) ended();
}

function ended() {
  shown.over = true;
  pause();
  $("veil").hidden = false;
  $("why").textContent = `The memory says that it ends here, after ${dream.steps} steps with ${dream.earned.toFixed(1)}.`;
  say($("why").textContent);
}

function tellNumbers({ reward, end }) {
  $("steps").textContent = dream.steps;
  if (told.form.reward !== "none") {
    $("reward").textContent = reward.toFixed(2);
    $("earned").textContent = dream.earned.toFixed(1);
    chart();
  }
  if (told.form.end) {
    $("end").textContent = end < 0.0005 ? "0 %" : `${(100 * end).toFixed(1)} %`;
    $("endbar").style.width = `${100 * Math.sqrt(end)}%`;
  }
  bars.forEach((bar, i) => {
    const low = bar.low ?? 0, high = bar.high ?? 1, rest = bar.rest ?? 0, share = (x) => (100 * (x - low)) / (high - low);
    const [from, to] = [share(rest), share(shown.action[i])].sort((a, b) => a - b);
    Object.assign(bar.fill.style, { left: `${from}%`, width: `${to - from}%` });
  });
}

/** The rewards of the last steps. */
function chart() {
  const canvas = $("chart"), context = canvas.getContext("2d"), { width, height } = canvas;
  const most = Math.max(1, ...shown.rewards), least = Math.min(-1, ...shown.rewards), style = getComputedStyle(document.body);
  const y = (r) => ((most - r) / (most - least)) * (height - 4) + 2;
  context.clearRect(0, 0, width, height);
  for (const [colour, points] of [["--line", [0, 0]], ["--c0", shown.rewards]]) {
    context.strokeStyle = style.getPropertyValue(colour);
    context.lineWidth = 2;
    context.beginPath();
    points.forEach((r, i) => context.lineTo((i / (points === shown.rewards ? 239 : 1)) * width, y(r)));
    context.stroke();
  }
}

/** One of the futures, anew; they take turns. */
function expect() {
  const { canvas, words } = futures[shown.turn++ % AHEAD];
  const found = dream.future(chosen, steps, luck);
  paint(canvas, dream.picture(found.z));
  const sum = told.form.reward === "none" ? "" : `${found.earned < 0 ? "−" : "+"}${Math.abs(found.earned).toFixed(1)}`;
  words.textContent = found.ended ? `${sum} ends` : sum;
  words.classList.toggle("ends", found.ended > 0);
}

function frame(now) {
  const gap = Math.min(now - shown.last, 250);
  shown.last = now;
  if (shown.going) {
    const from = performance.now(), wait = 1000 / +$("pace").value;
    shown.owed += gap;
    if (shown.owed >= wait) {
      for (let n = 0; shown.owed >= wait && n < 3 && shown.going; n++, shown.owed -= wait) step();
      if (shown.owed > wait) shown.owed = 0; // a machine that is too slow dreams slower
      look();
      shown.late = gap > 2 * wait ? shown.late + 1 : 0; // then futures come more rarely
      if ($("ahead").checked && shown.late % 4 === 0) expect();
      clock.tell(performance.now() - from);
    }
  }
  requestAnimationFrame(frame);
}

/** Milliseconds of a step with its picture, by vectors and by plain JavaScript in turns. */
function time(frames) {
  const spent = { vectors: 0, plain: 0 }, before = machine.plain, place = dream.now;
  for (let i = 0; i < frames; i++) {
    for (const name of machine.fast ? ["vectors", "plain"] : ["plain"]) {
      machine.plain = name === "plain";
      const from = performance.now();
      dream.now = dream.follow(place, shown.action, luck.ofStep(dream.columns, told.form.z_size), 1).place;
      paint($("stage"), dream.picture(dream.now.z));
      if (i >= frames / 10) spent[name] += performance.now() - from;
    }
  }
  Object.assign(machine, { plain: before });
  dream.now = place;
  return Object.fromEntries(Object.entries(spent).map(([name, sum]) => [name, sum / Math.floor(0.9 * frames)]));
}

document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && (event.target.type === "range" || event.key === " "))) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (hands.knows(key)) {
    hands.press(key);
    event.preventDefault();
    if (shown.who === "agent") drive("person");
    if (!shown.going && !event.repeat && !shown.over) go();
  } else if (key === "r") again();
  else if (key === "p") (shown.going ? pause : go)();
  else if (key === "m" && dream.agent) drive(shown.who === "agent" ? "person" : "agent");
  else if (key === "g") film.toggle();
});
document.addEventListener("keyup", (event) => hands.release(event.key.length === 1 ? event.key.toLowerCase() : event.key));
window.addEventListener("blur", () => hands.held.clear());
hands.show($("grips"));
$("grips").addEventListener("pointerdown", () => {
  drive("person");
  if (!shown.over) go();
});
$("begin").addEventListener("click", () => go("person"));
$("lend").addEventListener("click", () => go("agent"));
$("pause").addEventListener("click", () => (shown.going ? pause() : go()));
$("again").addEventListener("click", again);
for (const radio of document.querySelectorAll("input[name=who]")) radio.addEventListener("change", () => drive(radio.value));
for (const [name, set] of [["tau", (x) => (dream.tau = x)], ["pace", () => {}]]) {
  $(name).addEventListener("input", () => {
    $(`${name}told`).textContent = $(name).value;
    set(+$(name).value);
  });
  $(name).addEventListener("pointerup", () => $(name).blur()); // so that arrows drive again
}
again();
for (let i = 0; i < AHEAD; i++) expect();
requestAnimationFrame(frame);
window.play = { luck: (seed) => new Luck(seed), dream, machine, hands, shown, go, pause, again, drive, step, look, expect, time };
