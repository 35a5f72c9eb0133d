// While runs train: ask the server what has changed, and draw that anew. The state stays.

const EVERY = 2000; // milliseconds
const shownBefore = new Map(); // the HTML of parts, as the server gave it

async function poll() {
  let words = "";
  try {
    const answer = await fetch("changes.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const { version, why } = await answer.json();
    if (why) words = `The folders cannot be read now: ${why}.`;
    if (version !== book.version) await renew();
  } catch {
    words = "The server has ended; what is seen here stands still.";
  }
  const said = find("#live");
  if (said && said.textContent !== words) said.textContent = words;
  setTimeout(poll, EVERY);
}

/** Read the list of runs again, and the parts of this page that no script draws. */
async function renew() {
  const text = await (await fetch(location.pathname, { cache: "no-store" })).text();
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-renew]")) {
    const next = fresh.getElementById(part.id);
    if (next && next.innerHTML !== shownBefore.get(part.id)) {
      const seen = next.innerHTML;
      part.replaceChildren(...document.adoptNode(next).childNodes);
      shownBefore.set(part.id, seen);
    }
  }
  await new Promise((done) => load("runs", done));
  if (here.page === "run" && !book.byId.has(here.run)) return;
  for (const draw of book.views) draw();
}

if (here.live) {
  if (new URLSearchParams(location.search).has("token")) {
    history.replaceState(null, "", location.pathname + location.hash);
  }
  for (const part of document.querySelectorAll("[data-renew]")) shownBefore.set(part.id, part.innerHTML);
  setTimeout(poll, EVERY);
}
