// The list of API calls, newest first; a click shows what was asked and answered.

import { Refusal, world } from "./api.js";
import { clockTime, make } from "./dom.js";

const KEPT = 300;

export class CallList {
  lastId = 0;
  #calls = [];
  #methods = new Set();
  #isPaused = false;

  constructor() {
    this.element = document.querySelector(".call-list");
    this.filter = document.querySelector(".method-filter");
    this.polls = document.querySelector(".show-polls input");
    this.pause = document.querySelector(".pause");
    this.filter.onchange = () => this.#drawAll();
    this.polls.onchange = () => this.#drawAll();
    this.pause.onclick = () => this.#togglePause();
  }

  add(calls, shelf) {
    const newer = calls.filter(({ id }) => id > this.lastId).map((call) => ({ ...call, person: shelf.nameOf(call.chat_id) }));
    if (!newer.length) return;
    this.lastId = newer.at(-1).id;
    this.#calls = [...this.#calls, ...newer].slice(-KEPT);
    for (const { method } of newer) this.#learn(method);
    if (!this.#isPaused) this.#drawNewer(newer);
  }

  clear() {
    this.lastId = 0;
    this.#calls = [];
    this.#drawAll();
  }

  #togglePause() {
    this.#isPaused = !this.#isPaused;
    this.pause.setAttribute("aria-pressed", String(this.#isPaused));
    this.pause.title = this.#isPaused ? "Go on" : "Pause";
    this.pause.querySelector("use").setAttribute("href", this.#isPaused ? "#icon-play" : "#icon-pause");
    if (!this.#isPaused) this.#drawAll();
  }

  #learn(method) {
    if (this.#methods.has(method)) return;
    this.#methods.add(method);
    const chosen = this.filter.value;
    const names = [...this.#methods].sort();
    this.filter.replaceChildren(
      make("option", { value: "", textContent: "all methods" }),
      ...names.map((name) => make("option", { value: name, textContent: name })),
    );
    this.filter.value = chosen;
  }

  #isShown({ method }) {
    if (this.filter.value) return method === this.filter.value;
    return this.polls.checked || method.toLowerCase() !== "getupdates";
  }

  #drawAll() {
    this.element.replaceChildren();
    this.#drawNewer(this.#calls);
  }

  #drawNewer(calls) {
    const rows = calls.filter((call) => this.#isShown(call)).map((call) => row(call));
    this.element.prepend(...rows.reverse());
    while (this.element.childElementCount > KEPT) this.element.lastElementChild.remove();
  }
}

function row(call) {
  const { id, time, method, status, seconds, fault, chat_id, person } = call;
  const isGood = status === 200;
  const line = make(
    "button",
    { className: "call-line", ariaExpanded: "false" },
    make("time", { textContent: clockTime(time, { withSeconds: true }) }),
    make("b", { className: "call-method", textContent: method }),
    make("span", { className: "call-chat", textContent: person || chat_id || "", title: chat_id ?? "" }),
    make("span", { className: isGood ? "status good" : "status bad", textContent: status || "cut", title: fault ?? "" }),
    make("span", { className: "call-ms", textContent: `${duration(seconds)} ms` }),
  );
  const item = make("li", { className: "call", dataset: { method, id, status } }, line);
  line.onclick = () => toggleDetails(item, id, line);
  return item;
}

async function toggleDetails(item, id, line) {
  const shown = item.querySelector(".call-details");
  line.ariaExpanded = String(!shown);
  if (shown) {
    shown.remove();
    return;
  }
  const details = make("div", { className: "call-details", textContent: "…" });
  item.append(details);
  try {
    const { parameters, answer, fault } = await world.call(id);
    details.replaceChildren(
      ...(fault ? [make("p", { className: "met", textContent: `met: ${fault}` })] : []),
      make("h4", { textContent: "Parameters" }),
      make("pre", { className: "parameters", textContent: JSON.stringify(parameters, null, 2) }),
      make("h4", { textContent: "Answer" }),
      make("pre", { className: "answer", textContent: answer ? JSON.stringify(answer, null, 2) : "none: the connection was cut" }),
    );
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    details.textContent = error.message;
  }
}

function duration(seconds) {
  const milliseconds = seconds * 1000;
  return milliseconds < 10 ? milliseconds.toFixed(1) : milliseconds.toFixed(0);
}
