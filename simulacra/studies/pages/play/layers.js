// The layers of a graph. Each maker gets the machine, what Python wrote of the layer, and the places of
// the values that it reads and makes; it returns a function that computes.

const EACH = {
  relu: (x) => (x > 0 ? x : 0),
  leaky: (x, a) => (x > 0 ? x : a * x),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  exp: Math.exp,
  softplus: (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
  line: (x, a, b) => a * x + b,
  clamp: (x, a, b) => Math.min(Math.max(x, a), b),
};

const PAIR = { add: (x, y) => x + y, sub: (x, y) => x - y, mul: (x, y) => x * y, div: (x, y) => x / y };

const MAKERS = {
  constant(m, { data }, _, out) {
    m.f32.set(m.tensor(data), out.at);
    return () => {};
  },

  linear(m, { weight, bias, rows }, [x], out) {
    const width = out.n / rows, depth = x.n / rows;
    const A = m.matrix(m.tensor(weight), width, depth), b = bias && m.tensor(bias);
    m.reserve(A.deep, A.high);
    return () => {
      const from = m.scratch(1), to = m.scratch(2), f = m.f32;
      f.fill(0, from, from + A.deep);
      for (let r = 0; r < rows; r++) {
        f.copyWithin(from, x.at + r * depth, x.at + (r + 1) * depth);
        m.apply(A, from, to);
        for (let i = 0; i < width; i++) f[out.at + r * width + i] = f[to + i] + (b ? b[i] : 0);
      }
    };
  },

  conv(m, told, [x], out) {
    const { from: [C, H, W], to: [c, h, w], stride, pad, kernel: [kh, kw], groups } = told;
    const deep = (C / groups) * kh * kw, rows = c / groups, n = h * w, cols = up(n, 8);
    const numbers = m.tensor(told.weight), b = told.bias && m.tensor(told.bias);
    const each = Array.from({ length: groups }, (_, g) => m.matrix(numbers.subarray(g * rows * deep), rows, deep, true));
    m.reserve(deep * cols, each[0].high * cols, 8 * deep);
    return () => {
      const from = m.scratch(1), to = m.scratch(2), f = m.f32;
      each.forEach((A, g) => {
        for (let k = 0; k < deep; k++) {
          const channel = Math.floor(k / (kh * kw)) + g * (C / groups), ky = Math.floor(k / kw) % kh, kx = k % kw;
          let p = from + k * cols;
          for (let y = 0; y < h; y++) {
            const sy = y * stride[0] - pad[0] + ky, line = x.at + (channel * H + sy) * W;
            for (let i = 0; i < w; i++, p++) {
              const sx = i * stride[1] - pad[1] + kx;
              f[p] = sy >= 0 && sy < H && sx >= 0 && sx < W ? f[line + sx] : 0;
            }
          }
          f.fill(0, p, from + (k + 1) * cols);
        }
        m.multiply(A, from, to, cols);
        for (let i = 0; i < rows; i++) {
          const o = g * rows + i, shift = b ? b[o] : 0;
          for (let j = 0; j < n; j++) f[out.at + o * n + j] = f[to + i * cols + j] + shift;
        }
      });
    };
  },

  // what each pixel of the smaller maps adds to the larger ones is one product; then it is added there
  deconv(m, told, [x], out) {
    const { from: [C, H, W], to: [c, h, w], stride, pad, kernel: [kh, kw] } = told;
    const rows = c * kh * kw, n = H * W, cols = up(n, 8), given = m.tensor(told.weight);
    const turned = new Float32Array(rows * C), b = told.bias && m.tensor(told.bias);
    for (let i = 0; i < C; i++) for (let o = 0; o < rows; o++) turned[o * C + i] = given[i * rows + o];
    const A = m.matrix(turned, rows, C, true);
    m.reserve(C * cols, A.high * cols, 8 * C);
    return () => {
      const from = m.scratch(1), to = m.scratch(2), f = m.f32;
      for (let i = 0; i < C; i++) {
        f.copyWithin(from + i * cols, x.at + i * n, x.at + (i + 1) * n);
        f.fill(0, from + i * cols + n, from + (i + 1) * cols);
      }
      m.multiply(A, from, to, cols);
      for (let o = 0; o < c; o++) f.fill(b ? b[o] : 0, out.at + o * h * w, out.at + (o + 1) * h * w);
      for (let r = 0; r < rows; r++) {
        const o = Math.floor(r / (kh * kw)), ky = Math.floor(r / kw) % kh, kx = r % kw;
        const left = Math.max(0, Math.ceil((pad[1] - kx) / stride[1]));
        const right = Math.min(W, Math.floor((w - 1 + pad[1] - kx) / stride[1]) + 1);
        for (let y = 0; y < H; y++) {
          const sy = y * stride[0] - pad[0] + ky;
          if (sy < 0 || sy >= h) continue;
          let p = out.at + (o * h + sy) * w + left * stride[1] - pad[1] + kx;
          const line = to + r * cols + y * W;
          for (let i = left; i < right; i++, p += stride[1]) f[p] += f[line + i];
        }
      }
    };
  },

  /** Each map with a kernel of its own, which is a value. */
  cross(m, { from: [C, H, W], to: [, h, w], pad, kernel: [kh, kw] }, [x, kernel], out) {
    return () => {
      const f = m.f32;
      f.fill(0, out.at, out.at + out.n);
      for (let c = 0; c < C; c++) {
        for (let ky = 0; ky < kh; ky++) for (let kx = 0; kx < kw; kx++) {
          const k = f[kernel.at + (c * kh + ky) * kw + kx];
          const left = Math.max(0, pad[1] - kx), right = Math.min(w, W + pad[1] - kx);
          for (let y = Math.max(0, pad[0] - ky); y < Math.min(h, H + pad[0] - ky); y++) {
            const line = x.at + (c * H + y - pad[0] + ky) * W - pad[1] + kx, to = out.at + (c * h + y) * w;
            for (let i = left; i < right; i++) f[to + i] += k * f[line + i];
          }
        }
      }
    };
  },

  affine(m, { scale, shift, each }, [x], out) {
    const a = m.tensor(scale), b = m.tensor(shift);
    return () => {
      const f = m.f32;
      for (let i = 0; i < out.n; i++) {
        const c = Math.floor(i / each) % a.length;
        f[out.at + i] = a[c] * f[x.at + i] + b[c];
      }
    };
  },

  group_norm(m, { groups, eps, channels, scale, shift }, [x], out) {
    const a = m.tensor(scale), b = m.tensor(shift), n = out.n / groups, each = out.n / channels;
    return () => {
      const f = m.f32;
      for (let g = 0; g < groups; g++) {
        let mean = 0, square = 0;
        for (let i = g * n; i < (g + 1) * n; i++) mean += f[x.at + i] / n;
        for (let i = g * n; i < (g + 1) * n; i++) square += (f[x.at + i] - mean) ** 2 / n;
        const by = 1 / Math.sqrt(square + eps);
        for (let i = g * n; i < (g + 1) * n; i++) {
          const c = Math.floor(i / each);
          f[out.at + i] = (f[x.at + i] - mean) * by * a[c] + b[c];
        }
      }
    };
  },

  each(m, { kind, a, b }, [x], out) {
    const change = EACH[kind];
    return () => {
      const f = m.f32;
      for (let i = 0; i < out.n; i++) f[out.at + i] = change(f[x.at + i], a, b);
    };
  },

  pair(m, { kind }, [x, y], out) {
    const change = PAIR[kind];
    return () => {
      const f = m.f32;
      for (let i = 0; i < out.n; i++) f[out.at + i] = change(f[x.at + i], f[y.at + i]);
    };
  },

  reduce(m, { kind, over }, [x], out) {
    return () => {
      const f = m.f32;
      for (let i = 0; i < out.n; i++) {
        let found = kind === "prod" ? 1 : 0;
        for (let k = i * over; k < (i + 1) * over; k++) {
          if (kind === "prod") found *= f[x.at + k];
          else found += f[x.at + k];
        }
        f[out.at + i] = kind === "mean" ? found / over : found;
      }
    };
  },

  softmax(m, { over }, [x], out) {
    return () => {
      for (let i = 0; i < out.n; i += over) shares(m.f32, x.at + i, over, 1, m.f32, out.at + i);
    };
  },

  gather(m, { index, fill, sides, strides, from }, inputs, out) {
    if (inputs.length === 1 && !index && !sides) {
      return () => m.f32.copyWithin(out.at, inputs[0].at, inputs[0].at + out.n);
    }
    const places = index ? m.tensor(index) : sides ? walked(sides, strides, from) : Int32Array.from({ length: out.n }, (_, i) => i);
    const real = new Int32Array(out.n); // in the memory; -1: the fill
    for (let i = 0; i < out.n; i++) {
      let at = places[i], which = 0;
      while (at >= 0 && at >= inputs[which].n) at -= inputs[which++].n;
      real[i] = at < 0 ? -1 : inputs[which].at + at;
    }
    return () => {
      const f = m.f32;
      for (let i = 0; i < out.n; i++) f[out.at + i] = real[i] < 0 ? fill : f[real[i]];
    };
  },

  /** Means over rows, then over columns. */
  resample(m, { maps, from: [H, W], to: [h, w], rows, cols }, [x], out) {
    const down = sparse(m.tensor(rows), h, H), across = sparse(m.tensor(cols), w, W);
    m.reserve(h * W, 0);
    return () => {
      const middle = m.scratch(1), f = m.f32;
      for (let c = 0; c < maps; c++) {
        f.fill(0, middle, middle + h * W);
        down.forEach((terms, y) => {
          for (const [source, share] of terms) {
            const line = x.at + (c * H + source) * W;
            for (let i = 0; i < W; i++) f[middle + y * W + i] += share * f[line + i];
          }
        });
        for (let y = 0; y < h; y++) {
          for (let i = 0; i < w; i++) {
            let sum = 0;
            for (const [source, share] of across[i]) sum += share * f[middle + y * W + source];
            f[out.at + (c * h + y) * w + i] = sum;
          }
        }
      }
    };
  },

  lstm(m, { sizes: [N, T, C, H], ways }, [x, h0, c0], out, following) {
    const parts = ways.map(({ weight, bias }) => ({ A: m.matrix(m.tensor(weight), 4 * H, C + H), b: m.tensor(bias) }));
    const [lastH, lastC] = following, D = ways.length;
    m.reserve(parts[0].A.deep, 4 * H);
    return () => {
      const from = m.scratch(1), gates = m.scratch(2), f = m.f32, s = EACH.sigmoid;
      f.fill(0, from, from + parts[0].A.deep);
      parts.forEach(({ A, b }, way) => {
        for (let n = 0; n < N; n++) {
          const state = (way * N + n) * H;
          f.copyWithin(lastH.at + state, h0.at + state, h0.at + state + H);
          f.copyWithin(lastC.at + state, c0.at + state, c0.at + state + H);
          for (let step = 0; step < T; step++) {
            const t = way ? T - 1 - step : step, row = x.at + (n * T + t) * C;
            f.copyWithin(from, row, row + C);
            f.copyWithin(from + C, lastH.at + state, lastH.at + state + H);
            m.apply(A, from, gates);
            for (let k = 0; k < H; k++) {
              const keep = s(f[gates + k + H] + b[k + H]), enter = s(f[gates + k] + b[k]);
              const fresh = Math.tanh(f[gates + k + 2 * H] + b[k + 2 * H]);
              const c = keep * f[lastC.at + state + k] + enter * fresh;
              f[lastC.at + state + k] = c;
              f[lastH.at + state + k] = s(f[gates + k + 3 * H] + b[k + 3 * H]) * Math.tanh(c);
            }
            const to = out.at + ((n * T + t) * D + way) * H;
            f.copyWithin(to, lastH.at + state, lastH.at + state + H);
          }
        }
      });
    };
  },
};

/** softmax of n numbers of `f`, `stride` apart, into another array. */
function shares(f, at, n, stride, to, where) {
  let most = -Infinity, sum = 0;
  for (let i = 0; i < n; i++) most = Math.max(most, f[at + i * stride]);
  for (let i = 0; i < n; i++) sum += to[where + i] = Math.exp(f[at + i * stride] - most);
  for (let i = 0; i < n; i++) to[where + i] /= sum;
}

/** The places that strides tell of, in order. */
function walked(sides, strides, from) {
  let places = [from];
  sides.forEach((side, axis) => {
    places = places.flatMap((at) => Array.from({ length: side }, (_, i) => at + i * strides[axis]));
  });
  return places;
}

/** Of each row of a matrix what is not 0. */
function sparse(numbers, rows, cols) {
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: cols }, (_, c) => [c, numbers[r * cols + c]]).filter(([, share]) => share !== 0));
}

/** A net: `run` computes what depends on the inputs that are given; others stay as they were. */
class Graph {
  constructor(machine, { values, layers, inputs, outputs }) {
    this.machine = machine;
    this.values = values.map((n) => ({ at: machine.take(n + 3), n })); // read in fours
    Object.assign(this, { inputs, outputs });
    const needs = values.map(() => new Set());
    for (const [name, number] of Object.entries(inputs)) needs[number].add(name);
    this.layers = layers.map((layer) => {
      const ins = layer.in.map((i) => this.values[i]), out = this.values[layer.out];
      const following = this.values.slice(layer.out + 1, layer.out + 3);
      const made = layer.op === "lstm" ? [0, 1, 2] : [0];
      for (const more of made) for (const i of layer.in) for (const name of needs[i]) needs[layer.out + more].add(name);
      const compute = MAKERS[layer.op](machine, layer, ins, out, following);
      if (!needs[layer.out].size) compute(); // of constants, once
      return { compute, needs: needs[layer.out] };
    });
  }

  /** The numbers of each output, which are overwritten by the next run. */
  run(given) {
    for (const [name, numbers] of Object.entries(given)) this.machine.f32.set(numbers, this.values[this.inputs[name]].at);
    for (const { compute, needs } of this.layers) {
      for (const name of needs) {
        if (name in given) {
          compute();
          break;
        }
      }
    }
    const told = {};
    for (const [name, number] of Object.entries(this.outputs)) {
      const { at, n } = this.values[number];
      told[name] = this.machine.f32.subarray(at, at + n);
    }
    return told;
  }
}
