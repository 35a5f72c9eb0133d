/** Random numbers from a seed: uniform and normal ones. */
class Luck {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  uniform() { // mulberry32
    let t = (this.state = (this.state + 0x6d2b79f5) >>> 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  normal() { // Box and Muller
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  normals(n) {
    return Float32Array.from({ length: n }, () => this.normal());
  }

  /** What one step of a dream needs: uniform numbers, that of the end first, and normal ones. */
  ofStep(columns, size) {
    return { u: Float32Array.from({ length: columns + 1 }, () => this.uniform()), noise: this.normals(size) };
  }
}
