// The engine room: what the bot was told, what it called, and the faults it has to live with.

import { CallList } from "./calls.js";
import { FaultSwitches } from "./faults.js";

export class Drawer {
  #isOpen;
  #calls = new CallList();
  #faults = new FaultSwitches();

  constructor({ onToggle }) {
    this.onToggle = onToggle;
    this.element = document.querySelector(".drawer");
    this.button = document.querySelector(".open-drawer");
    this.button.onclick = () => this.#toggle(!this.#isOpen);
    document.querySelector(".close-drawer").onclick = () => this.#toggle(false);
    this.#isOpen = new URL(location.href).searchParams.get("drawer") === "1";
    this.#draw();
  }

  // A closed drawer asks for nothing.
  parameters() {
    return this.#isOpen ? { calls_since: this.#calls.lastId } : {};
  }

  receive(name, body, shelf) {
    if (name === "calls") this.#calls.add(body, shelf);
    else if (name === "faults") this.#faults.show(body);
    else if (name === "update") this.#showUpdate(body, shelf);
  }

  forget() {
    this.#calls.clear();
  }

  #toggle(isOpen) {
    this.#isOpen = isOpen;
    const url = new URL(location.href);
    if (isOpen) url.searchParams.set("drawer", "1");
    else url.searchParams.delete("drawer");
    history.replaceState(null, "", url.href.replaceAll("%2C", ","));
    this.#draw();
    this.onToggle();
  }

  #draw() {
    this.element.hidden = !this.#isOpen;
    this.button.setAttribute("aria-expanded", String(this.#isOpen));
  }

  #showUpdate({ person_id, update }, shelf) {
    const kind = Object.keys(update).find((name) => name !== "update_id");
    this.element.querySelector(".latest-about").textContent = `${kind} · ${shelf.nameOf(person_id)}`;
    this.element.querySelector(".update").textContent = JSON.stringify(update, null, 2);
  }
}
