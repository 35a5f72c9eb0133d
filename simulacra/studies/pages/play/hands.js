// What a person does: keys, held buttons, a gamepad. `told` is what the world says of its actions, as
// simulacra/envs/controls.py describes it.

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "space" };
const EASE = 0.35; // share of the way to what is held that an action goes in a step
const DEAD = 0.12; // of a stick

/** What a person would read for a key. */
const keyName = (key) => NAMES[key] ?? key.toUpperCase();

class Hands {
  constructor(told) {
    this.told = told;
    this.held = new Set();
    this.values = told.axes.map((axis) => axis.rest);
    this.choice = told.rest;
  }

  /** Everything that can be held: a label, its keys, and what it does. */
  grips() {
    const { axes, choices } = this.told;
    const ofAxes = axes.flatMap((axis, i) => axis.ends.map((end) => ({ ...end, axis: i })));
    return [...ofAxes, ...choices.map((one, i) => ({ ...one, choice: i }))];
  }

  /** Whether a key is for driving. */
  knows(key) {
    return this.grips().some((grip) => grip.keys.includes(key));
  }

  press(key) {
    this.held.add(key);
  }

  release(key) {
    this.held.delete(key);
  }

  holds(grip) {
    return grip.keys.some((key) => this.held.has(key)) || this.held.has(grip.name);
  }

  /** The next action. */
  action() {
    const pad = [...(navigator.getGamepads?.() ?? [])].find(Boolean), grips = this.grips();
    const { axes, choices } = this.told;
    if (choices.length) {
      const found = grips.find((grip) => this.holds(grip) || pad?.buttons[grip.pad]?.pressed);
      this.choice = found ? found.choice : this.told.rest;
      return Float32Array.from(choices, (_, i) => (i === this.choice ? 1 : 0));
    }
    axes.forEach((axis, i) => {
      const mine = grips.filter((grip) => grip.axis === i && this.holds(grip));
      let to = mine.length ? mine.reduce((sum, grip) => sum + grip.value, 0) / mine.length : axis.rest;
      const stick = pad && axis.stick !== null ? pad.axes[axis.stick] ?? 0 : 0;
      const buttons = pad ? axis.ends.filter((end) => pad.buttons[end.pad]?.value > 0) : [];
      let eased = EASE;
      if (Math.abs(stick) > DEAD) [to, eased] = [stick < 0 ? -stick * axis.low : stick * axis.high, 1];
      for (const end of buttons) [to, eased] = [pad.buttons[end.pad].value * end.value, 1];
      this.values[i] += eased * (to - this.values[i]);
      this.values[i] = Math.min(Math.max(this.values[i], axis.low), axis.high);
    });
    return Float32Array.from(this.values);
  }

  /** Buttons to hold, in an element. */
  show(element) {
    for (const grip of this.grips()) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "grip";
      button.append(grip.name);
      for (const key of grip.keys.slice(0, 2)) {
        const cap = document.createElement("kbd");
        cap.textContent = keyName(key);
        button.append(" ", cap);
      }
      const hold = (down) => (event) => {
        event.preventDefault();
        if (down) this.press(grip.name);
        else this.release(grip.name);
        button.classList.toggle("held", down);
      };
      button.addEventListener("pointerdown", (event) => {
        button.setPointerCapture(event.pointerId);
        hold(true)(event);
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(end, hold(false));
      button.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && hold(true)(event));
      button.addEventListener("keyup", (event) => (event.key === " " || event.key === "Enter") && hold(false)(event));
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      element.append(button);
    }
  }
}
