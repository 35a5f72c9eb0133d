// The world of a dream: a memory that goes from one code to the next, an agent, and luck.

/** A linear agent: actions of a code and, if it sees one, a memory's state. */
class Agent {
  constructor(machine, { weight, bias, squash, state }) {
    Object.assign(this, { W: machine.tensor(weight), b: machine.tensor(bias), squash, state });
  }

  act(z, h) {
    const seen = this.state ? [...z, ...h] : z, x = Array.from(this.b);
    for (let i = 0; i < x.length; i++) {
      for (let k = 0; k < seen.length; k++) x[i] += this.W[i * seen.length + k] * seen[k];
    }
    if (this.squash === "argmax") { // the first of the largest
      const best = x.indexOf(Math.max(...x));
      return Float32Array.from(x, (_, i) => Number(i === best));
    }
    for (let i = 0; i < x.length; i++) x[i] = Math.tanh(x[i]);
    if (this.squash === "tanh") return Float32Array.from(x);
    const [steer, gas, brake] = x; // as models/world/dreaming.py: squashed
    return Float32Array.of(steer, (gas + 1) / 2, this.squash === "paper" ? Math.max(brake, 0) : (brake + 1) / 2);
  }
}

class Dream {
  constructor(machine, told) {
    this.told = told;
    this.memory = new Graph(machine, told.memory);
    this.decoder = new Graph(machine, told.decoder);
    this.agent = told.agent && new Agent(machine, told.agent);
    this.starts = ["z", "h", "c"].map((name) => machine.tensor(told.starts[name]));
    this.bins = machine.tensor(told.bins);
    this.columns = told.form.joint ? 1 : told.form.z_size;
    this.tau = told.tau;
    this.reset(0);
  }

  /** Begin at a recorded place. */
  reset(which) {
    const { z_size: Z, units: H } = this.told.form, k = which % this.told.starts.count;
    const [z, h, c] = this.starts;
    this.now = { z: z.slice(k * Z, k * Z + Z), h: h.slice(k * H, k * H + H), c: c.slice(k * H, k * H + H) };
    this.steps = this.earned = 0;
  }

  /** The next place, the reward and the chance of an end that the memory expects of an action. */
  follow({ z, h, c }, a, { u, noise }, tau) {
    const { mixtures: K, z_size: Z, low, reward, end } = this.told.form, n = this.columns;
    const told = this.memory.run({ z, a, h, c }), head = told.head;
    const next = new Float32Array(Z), chance = new Float64Array(K), chosen = new Array(n);
    for (let j = 0; j < n; j++) {
      if (tau === 0) {
        chosen[j] = 0;
        for (let k = 1; k < K; k++) if (head[k * n + j] > head[chosen[j] * n + j]) chosen[j] = k;
        continue;
      }
      const warm = Float64Array.from({ length: K }, (_, k) => head[k * n + j] / tau);
      shares(warm, 0, K, 1, chance, 0);
      let reached = chance[0];
      chosen[j] = 0;
      while (chosen[j] < K - 1 && u[j + 1] >= reached) reached += chance[++chosen[j]];
    }
    const means = K * n, scales = means + K * Z;
    for (let i = 0; i < Z; i++) {
      const k = chosen[n === 1 ? 0 : i], free = head[scales + k * Z + i] - low;
      const scale = Math.exp(low + (free > 20 ? free : Math.log1p(Math.exp(free))));
      next[i] = head[means + k * Z + i] + (tau && scale * Math.sqrt(tau) * this.told.noise * noise[i]);
    }
    const after = scales + K * Z, size = reward === "twohot" ? this.bins.length : reward === "none" ? 0 : 1;
    return {
      place: { z: next, h: told.h.slice(), c: told.c.slice() },
      reward: size ? this.worth(head, after) : 0,
      end: end ? EACH.sigmoid(head[after + size]) : 0,
    };
  }

  /** The reward that the head tells of. */
  worth(head, at) {
    const kind = this.told.form.reward;
    if (kind === "value") return head[at];
    if (kind === "sign") return head[at] > 0 ? 1 : 0;
    const p = new Float64Array(this.bins.length);
    shares(head, at, p.length, 1, p, 0);
    return p.reduce((sum, share, i) => sum + share * this.bins[i], 0);
  }

  /** One step; whether the dream ended with it. */
  step(a, luck) {
    const found = this.follow(this.now, a, luck, this.tau);
    this.now = found.place;
    this.steps += 1;
    this.earned += found.reward;
    return { ...found, ended: luck.u[0] < found.end };
  }

  /** A picture (C H W numbers in [-1, 1]) of a code. */
  picture(z) {
    return this.decoder.run({ z }).x;
  }

  /** What may come of going on for some steps: the last code, the rewards, whether it ended. */
  future(act, steps, luck) {
    let place = this.now, earned = 0;
    for (let t = 1; t <= steps; t++) {
      const chance = luck.ofStep(this.columns, place.z.length);
      const found = this.follow(place, act(place), chance, this.tau);
      place = found.place;
      earned += found.reward;
      if (chance.u[0] < found.end) return { z: place.z, earned, ended: t };
    }
    return { z: place.z, earned, ended: 0 };
  }
}
