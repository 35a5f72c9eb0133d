// A film as a GIF (89a): one palette of 256 colours for all frames, found by median cut.

/** 256 colours (r, g, b) for pixels of r, g, b, 255: boxes of colours are halved where they are widest. */
function palette(frames) {
  const seen = new Map();
  for (const frame of frames) {
    for (let i = 0; i < frame.length; i += 4) {
      const key = ((frame[i] >> 3) << 10) | ((frame[i + 1] >> 3) << 5) | (frame[i + 2] >> 3);
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
  }
  const parts = (key) => [key >> 10, (key >> 5) & 31, key & 31];
  const box = (keys) => {
    const spans = [0, 1, 2].map((c) => {
      let low = 31, high = 0;
      for (const key of keys) {
        const x = parts(key)[c];
        low = Math.min(low, x);
        high = Math.max(high, x);
      }
      return high - low;
    });
    const widest = spans.indexOf(Math.max(...spans));
    return { keys, widest, span: spans[widest] };
  };
  const boxes = [box([...seen.keys()])];
  while (boxes.length < 256) {
    boxes.sort((a, b) => b.span - a.span);
    const { keys, widest, span } = boxes[0];
    if (!span) break;
    keys.sort((a, b) => parts(a)[widest] - parts(b)[widest]);
    const total = keys.reduce((sum, key) => sum + seen.get(key), 0);
    let at = 0;
    for (let sum = 0; at < keys.length - 1 && sum < total / 2; at++) sum += seen.get(keys[at]);
    at = Math.max(at, 1);
    boxes.splice(0, 1, box(keys.slice(0, at)), box(keys.slice(at)));
  }
  const colours = new Uint8Array(768), place = new Map();
  boxes.forEach(({ keys }, i) => {
    let sum = 0;
    const mean = [0, 0, 0];
    for (const key of keys) {
      const n = seen.get(key);
      sum += n;
      parts(key).forEach((x, c) => (mean[c] += n * (x * 8 + 4)));
      place.set(key, i);
    }
    mean.forEach((x, c) => (colours[3 * i + c] = x / sum));
  });
  const of = (r, g, b) => place.get(((r >> 3) << 10) | ((g >> 3) << 5) | (b >> 3));
  return { colours, of };
}

/** Numbers below 256 as LZW, in blocks of at most 255 bytes. */
function squeezed(pixels) {
  const bytes = [];
  let bits = 0, held = 0, size = 9, codes = new Map(), next = 258;
  const put = (code) => {
    bits |= code << held;
    held += size;
    while (held >= 8) {
      bytes.push(bits & 255);
      bits >>>= 8;
      held -= 8;
    }
  };
  put(256);
  let word = pixels[0];
  for (let i = 1; i < pixels.length; i++) {
    const longer = (word << 8) | pixels[i];
    const code = codes.get(longer);
    if (code !== undefined) {
      word = code;
      continue;
    }
    put(word);
    if (next === 4096) {
      put(256);
      [codes, next, size] = [new Map(), 258, 9];
    } else {
      if (next === 1 << size) size += 1;
      codes.set(longer, next++);
    }
    word = pixels[i];
  }
  put(word);
  put(257);
  if (held) bytes.push(bits & 255);
  const blocks = [8];
  for (let i = 0; i < bytes.length; i += 255) {
    const some = bytes.slice(i, i + 255);
    blocks.push(some.length, ...some);
  }
  return [...blocks, 0];
}

/** The bytes of a film of frames (width height 4 numbers each), each pixel `scale` pixels wide. */
function gif(frames, width, height, seconds, scale = 1) {
  const { colours, of } = palette(frames), W = width * scale, H = height * scale;
  const two = (n) => [n & 255, n >> 8], text = (x) => [...new TextEncoder().encode(x)];
  const parts = [Uint8Array.from([...text("GIF89a"), ...two(W), ...two(H), 0xf7, 0, 0, ...colours])];
  parts.push(Uint8Array.from([0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0]));
  for (const frame of frames) {
    const pixels = new Uint8Array(W * H);
    for (let y = 0, p = 0; y < H; y++) {
      for (let x = 0; x < W; x++, p++) {
        const i = 4 * (Math.floor(y / scale) * width + Math.floor(x / scale));
        pixels[p] = of(frame[i], frame[i + 1], frame[i + 2]);
      }
    }
    const wait = two(Math.max(2, Math.round(100 * seconds)));
    const head = [0x21, 0xf9, 4, 4, ...wait, 0, 0, 0x2c, 0, 0, 0, 0, ...two(W), ...two(H), 0];
    parts.push(Uint8Array.from(head), Uint8Array.from(squeezed(pixels)));
  }
  return new Blob([...parts, Uint8Array.of(0x3b)], { type: "image/gif" });
}
