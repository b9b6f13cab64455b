// Switches for lasting faults. What a switch shows is what the simulator says, whoever ordered it.

import { Refusal, world } from "./api.js";
import { make } from "./dom.js";

const SWITCHES = [
  { kind: "delay", words: "Slow", about: "every call takes longer", field: "delay_seconds", value: 2, unit: "s" },
  { kind: "429", words: "Too many requests", about: "429, retry after", field: "retry_after", value: 3, unit: "s" },
  { kind: "5xx", words: "Server error", about: "502 Bad Gateway" },
  { kind: "drop_answer", words: "Lost answers", about: "the call takes effect, its answer never comes" },
  { kind: "deliver_twice", words: "Repeated updates", about: "every update comes twice" },
];

export class FaultSwitches {
  #rows = new Map();

  constructor() {
    this.badge = document.querySelector(".faults-on");
    for (const spec of SWITCHES) this.#rows.set(spec.kind, new Switch(spec));
    document.querySelector(".fault-list").append(...[...this.#rows.values()].map(({ element }) => element));
  }

  show(faults) {
    const lasting = new Map(faults.filter(({ times }) => times === null).map((fault) => [fault.kind, fault]));
    for (const [kind, row] of this.#rows) row.show(lasting.get(kind));
    this.badge.hidden = !lasting.size;
    this.badge.textContent = lasting.size;
  }
}

class Switch {
  constructor({ kind, words, about, field, value, unit }) {
    this.kind = kind;
    this.field = field;
    this.input = make("input", { type: "checkbox", className: "switch", role: "switch", onchange: () => this.#set() });
    this.met = make("span", { className: "fault-met" });
    if (field) {
      this.amount = make("input", { type: "number", className: "amount", min: 1, max: 600, value, ariaLabel: `${words}: seconds` });
      this.amount.addEventListener("change", () => this.input.checked && this.#set());
    }
    this.element = make(
      "div",
      { className: "fault", dataset: { kind } },
      make("label", {}, this.input, make("span", { className: "fault-words" }, make("b", { textContent: words }), make("small", { textContent: about }))),
      this.amount ? make("span", { className: "fault-amount" }, this.amount, unit) : null,
      this.met,
    );
  }

  show(fault) {
    this.input.checked = Boolean(fault);
    this.element.classList.toggle("on", Boolean(fault));
    this.met.textContent = fault ? `met ${fault.met}×` : "";
    if (fault && this.field && document.activeElement !== this.amount) this.amount.value = fault[this.field];
  }

  async #set() {
    const amount = this.field ? { [this.field]: Math.max(1, Math.round(Number(this.amount.value)) || 1) } : {};
    try {
      if (this.input.checked) await world.orderFault({ kind: this.kind, times: null, ...amount });
      else await world.clearFault(this.kind);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.input.checked = !this.input.checked;
    }
  }
}
