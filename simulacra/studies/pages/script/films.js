// GIFs with controls: their frames, laid side by side in one picture, drawn one after the other.

/** Put a player in place of each GIF whose frames are known. */
function films() {
  for (const figure of document.querySelectorAll("figure[data-frames]")) {
    if (!figure.dataset.player) player(figure, JSON.parse(figure.dataset.frames));
  }
}

function player(figure, { path: source, count, across, width, height, ms }) {
  figure.dataset.player = "1";
  const canvas = el("canvas", { width, height, role: "img" });
  const old = find("img", figure);
  canvas.setAttribute("aria-label", old?.alt ?? "film");
  const board = new Image();
  const said = el("output", { class: "faint" });
  const slider = el("input", { type: "range", min: 0, max: count - 1, value: 0, "aria-label": "Frame" });
  const play = el("button", { type: "button", "aria-label": "Pause" }, "❚❚");
  const speed = el("select", { "aria-label": "Speed" }, [0.25, 0.5, 1, 2].map((one) => el("option", { value: one, selected: one === 1 }, `${one}×`)));
  let timer = 0;
  const draw = (i) => {
    slider.value = i;
    said.textContent = `${i + 1} of ${count}`;
    canvas.getContext("2d").drawImage(board, (i % across) * width, Math.floor(i / across) * height, width, height, 0, 0, width, height);
  };
  const next = () => {
    draw((Number(slider.value) + 1) % count);
    timer = setTimeout(next, ms[Number(slider.value)] / Number(speed.value));
  };
  const stop = () => { clearTimeout(timer); timer = 0; play.textContent = "▶"; play.setAttribute("aria-label", "Play"); };
  const begin = () => { play.textContent = "❚❚"; play.setAttribute("aria-label", "Pause"); timer = setTimeout(next, ms[Number(slider.value)]); };
  play.addEventListener("click", () => (timer ? stop() : begin()));
  slider.addEventListener("input", () => { stop(); draw(Number(slider.value)); });
  board.addEventListener("load", () => {
    old?.closest("a")?.replaceWith(canvas);
    draw(0);
    figure.insertBefore(el("div", { class: "film" }, play, slider, said, speed), find("figcaption", figure));
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) stop(); else begin();
  });
  board.src = source;
}
