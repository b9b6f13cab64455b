// The one stream of news for all that the page shows. It comes back by itself, with what is known by then.

import { address } from "./api.js";

const SILENCE_MS = 12_000; // the simulator says something every five seconds
const PAUSES_MS = [200, 500, 1000, 2000];
const EVENTS = ["hello", "phone", "calls", "update", "faults", "tick"];

export class Stream {
  #source = null;
  #watchdog = 0;
  #retry = 0;
  #failures = 0;

  // `parameters()` tells what is wanted and known; `onEvent(name, body)` gets the news; `onState(isConnected)`.
  constructor({ parameters, onEvent, onState }) {
    this.parameters = parameters;
    this.onEvent = onEvent;
    this.onState = onState;
    addEventListener("offline", () => this.#lost());
    addEventListener("online", () => this.open());
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  open() {
    this.#close();
    const source = new EventSource(address("events", this.parameters()));
    this.#source = source;
    for (const name of EVENTS) {
      source.addEventListener(name, ({ data }) => {
        if (source !== this.#source) return;
        this.#heard();
        this.onEvent(name, JSON.parse(data));
      });
    }
    source.addEventListener("error", () => source === this.#source && this.#lost());
    this.#awaitNews();
  }

  #heard() {
    this.#failures = 0;
    this.onState(true);
    this.#awaitNews();
  }

  #awaitNews() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost(), SILENCE_MS);
  }

  #lost() {
    this.#close();
    this.onState(false);
    this.#retry = setTimeout(() => this.open(), PAUSES_MS[Math.min(this.#failures++, PAUSES_MS.length - 1)]);
  }

  #close() {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }
}
