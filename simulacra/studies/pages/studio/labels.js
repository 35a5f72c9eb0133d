// Labels of a frame's pixels: 0 the surroundings, 1 to 8 the objects, row by row.

/** Labels from runs: a label, how often it follows, the next label ... */
export function fromRuns(runs, count) {
  const labels = new Uint8Array(count);
  for (let i = 0, at = 0; i < runs.length; i += 2) {
    labels.fill(runs[i], at, (at += runs[i + 1]));
  }
  return labels;
}

/** The runs of labels. */
export function toRuns(labels) {
  const runs = [];
  for (let start = 0, i = 1; i <= labels.length; i += 1) {
    if (i === labels.length || labels[i] !== labels[start]) {
      runs.push(labels[start], i - start);
      start = i;
    }
  }
  return runs;
}

/** Labels within `radius` of the way from one point to another become `value`; where that may be. */
export function stroke(labels, width, from, to, radius, value) {
  const height = labels.length / width;
  const reach = Math.max(radius, 0.5);
  const box = {
    left: Math.max(0, Math.floor(Math.min(from.x, to.x) - reach)),
    right: Math.min(width, Math.ceil(Math.max(from.x, to.x) + reach)),
    top: Math.max(0, Math.floor(Math.min(from.y, to.y) - reach)),
    bottom: Math.min(height, Math.ceil(Math.max(from.y, to.y) + reach)),
  };
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let y = box.top; y < box.bottom; y += 1) {
    for (let x = box.left; x < box.right; x += 1) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      if (Math.hypot(px - along * dx, py - along * dy) <= reach) labels[y * width + x] = value;
    }
  }
  return box;
}

/** Labels inside a closed line of points become `value`, by the even-odd rule. */
export function fill(labels, width, points, value) {
  const height = labels.length / width;
  for (let y = 0; y < height; y += 1) {
    const crossings = [];
    for (let i = 0; i < points.length; i += 1) {
      const [a, b] = [points[i], points[(i + 1) % points.length]];
      if (a.y <= y + 0.5 !== b.y <= y + 0.5) crossings.push(a.x + ((y + 0.5 - a.y) / (b.y - a.y)) * (b.x - a.x));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const start = Math.max(0, Math.ceil(crossings[i] - 0.5));
      const stop = Math.min(width, Math.ceil(crossings[i + 1] - 0.5));
      if (start < stop) labels.fill(value, y * width + start, y * width + stop);
    }
  }
}

/** Draw labels over a frame: tinted inside, with an edge. `box` is where they may have changed. */
export function tint(canvas, labels, colours, box = null) {
  const [width, height] = [canvas.width, canvas.height];
  const part = box ?? { left: 0, top: 0, right: width, bottom: height };
  const edge = Math.max(1, Math.round(width / 800)); // so that it is seen where pixels are small
  const [left, top] = [Math.max(0, part.left - edge), Math.max(0, part.top - edge)];
  const [right, bottom] = [Math.min(width, part.right + edge), Math.min(height, part.bottom + edge)];
  if (right <= left || bottom <= top) return;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(right - left, bottom - top);
  for (let y = top, at = 0; y < bottom; y += 1) {
    for (let x = left; x < right; x += 1, at += 4) {
      const i = y * width + x;
      const label = labels[i];
      if (!label) continue;
      const inside = (x < edge || labels[i - edge] === label) && (x >= width - edge || labels[i + edge] === label)
        && (y < edge || labels[i - edge * width] === label) && (y >= height - edge || labels[i + edge * width] === label);
      const [r, g, b] = colours[label - 1];
      image.data[at] = r;
      image.data[at + 1] = g;
      image.data[at + 2] = b;
      image.data[at + 3] = inside ? 105 : 255;
    }
  }
  pen.putImageData(image, left, top);
}
