// Numbers and matrix products. All weights and values lie in one memory, which WebAssembly and plain
// JavaScript both read; lengths and places count numbers, not bytes.

const PAGE = 65536; // bytes by which a memory grows
const up = (n, step) => Math.ceil(n / step) * step;

class Machine {
  constructor(blob) {
    this.blob = blob; // ArrayBuffer of the weights as they were written
    this.memory = typeof WebAssembly === "object" ? new WebAssembly.Memory({ initial: 1 }) : null;
    this.f32 = new Float32Array(this.memory ? this.memory.buffer : new ArrayBuffer(PAGE));
    this.used = 4;
    this.room = [];
    this.fast = this.memory && vectors(this.memory);
    this.plain = !this.fast; // whether products are of plain JavaScript
  }

  /** The place of n new numbers, at a multiple of four of them, all 0. */
  take(n) {
    const at = this.used;
    this.used = up(at + Math.max(n, 4), 4);
    const more = this.used * 4 - this.f32.byteLength;
    if (more > 0 && this.memory) {
      this.memory.grow(up(Math.max(more, 1 << 20), PAGE) / PAGE);
      this.f32 = new Float32Array(this.memory.buffer);
    } else if (more > 0) {
      const old = this.f32;
      this.f32 = new Float32Array(up(Math.max(this.used, 2 * old.length), 4));
      this.f32.set(old);
    }
    return at;
  }

  /** Make room for what layers need while they compute, which all of them share: what a product
   * reads, what it makes, and the columns that it copies. No memory moves after nets were made. */
  reserve(from, to, panel = 0) {
    [panel, from, to].forEach((n, which) => {
      if (!this.room[which] || this.room[which].n < n) this.room[which] = { at: this.take(n), n };
    });
  }

  /** The place of that room: 0 copied columns, 1 what is read, 2 what is made. */
  scratch(which) {
    return this.room[which].at;
  }

  /** The numbers of a tensor in the blob: floats, integers or bytes. */
  tensor({ kind, at, count }) {
    if (kind === "f32") return new Float32Array(this.blob, at, count);
    if (kind === "u8") return new Uint8Array(this.blob, at, count);
    if (kind === "i32") return new Int32Array(this.blob, at, count);
    return Float32Array.from(new Uint16Array(this.blob, at, count), half);
  }

  /** A matrix (rows, depth) put where `multiply` and `apply` find it, filled up with zeros. */
  matrix(numbers, rows, depth, wide) {
    const high = up(rows, 4), deep = wide ? depth : up(depth, 4);
    const at = this.take(high * deep), f = this.f32;
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < depth; k++) {
        const to = wide ? ((i >> 2) * deep + k) * 4 + (i & 3) : i * deep + k;
        f[at + to] = numbers[i * depth + k];
      }
    }
    return { at, rows, depth, high, deep };
  }

  /** c (high, cols) = A b, b (depth, cols), cols a multiple of 8, A a wide matrix. */
  multiply(A, b, c, cols) {
    const panel = this.scratch(0);
    if (!this.plain) {
      this.fast.product(4 * A.at, 4 * b, 4 * c, 4 * panel, A.high, cols, A.depth);
      return;
    }
    const f = this.f32, { high, depth } = A;
    for (let i = 0; i < high; i += 4) {
      const c0 = c + i * cols, c1 = c0 + cols, c2 = c1 + cols, c3 = c2 + cols;
      f.fill(0, c0, c0 + 4 * cols);
      for (let k = 0, p = A.at + i * depth; k < depth; k++, p += 4) {
        const w0 = f[p], w1 = f[p + 1], w2 = f[p + 2], w3 = f[p + 3], row = b + k * cols;
        for (let j = 0; j < cols; j++) {
          const x = f[row + j];
          f[c0 + j] += w0 * x;
          f[c1 + j] += w1 * x;
          f[c2 + j] += w2 * x;
          f[c3 + j] += w3 * x;
        }
      }
    }
  }

  /** y (high) = A x, x filled up with zeros to a multiple of 4. */
  apply(A, x, y) {
    if (!this.plain) {
      this.fast.applied(4 * A.at, 4 * x, 4 * y, A.high, A.deep);
      return;
    }
    const f = this.f32;
    for (let i = 0, p = A.at; i < A.rows; i++, p += A.deep) {
      let sum = 0;
      for (let k = 0; k < A.depth; k++) sum += f[p + k] * f[x + k];
      f[y + i] = sum;
    }
  }
}

/** A number from its sixteen bits. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, power = (bits >> 10) & 31, rest = bits & 1023;
  if (power === 31) return rest ? NaN : sign * Infinity;
  return sign * (power ? 2 ** (power - 25) * (1024 + rest) : 2 ** -24 * rest);
}

/** The bytes of text in base 64. */
function unpacked(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes.buffer;
}
