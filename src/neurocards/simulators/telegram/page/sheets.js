// What lies over a screen for a moment: a notice that fades, an alert with OK, a form, a picture in full.

import { make } from "./dom.js";

const NOTICE_MS = 3500;

export class Layer {
  #notice = null;
  #fading = 0;

  constructor(element) {
    this.element = element;
  }

  notice(text) {
    clearTimeout(this.#fading);
    this.#notice?.remove();
    this.#notice = make("div", { className: "toast", textContent: text, role: "status", dir: "auto" });
    this.element.append(this.#notice);
    this.#fading = setTimeout(() => this.#notice.remove(), NOTICE_MS);
  }

  alert(text, { title = "" } = {}) {
    const heading = title ? make("h3", { textContent: title }) : null;
    const ok = make("button", { className: "alert-ok", textContent: "OK" });
    const words = make("p", { textContent: text, dir: "auto" });
    const box = make("div", { className: "alert card", role: "alertdialog" }, heading, words, make("div", { className: "choices" }, ok));
    return this.#over(box, ok, (close) => (ok.onclick = () => close(true)));
  }

  // Two ways out of a question; false for the second, null for neither.
  choose(title, text, { yes, no }) {
    const yesButton = make("button", { className: "choice-yes", textContent: yes });
    const noButton = make("button", { className: "choice-no", textContent: no });
    const box = make(
      "div",
      { className: "card", role: "dialog" },
      make("h3", { textContent: title, dir: "auto" }),
      make("p", { textContent: text, dir: "auto" }),
      make("div", { className: "choices" }, noButton, yesButton),
    );
    return this.#over(box, yesButton, (close) => {
      yesButton.onclick = () => close(true);
      noButton.onclick = () => close(false);
    });
  }

  // A form of a few fields; the answers by name, or null.
  ask({ title, fields, action }) {
    const inputs = fields.filter(Boolean).map(field);
    const cancel = make("button", { type: "button", className: "choice-no", textContent: "Cancel" });
    const box = make(
      "form",
      { className: "ask card" },
      make("h3", { textContent: title }),
      ...inputs.map(({ label }) => label),
      make("div", { className: "choices" }, cancel, make("button", { className: "choice-yes", textContent: action })),
    );
    return this.#over(box, inputs[0].input, (close) => {
      cancel.onclick = () => close(null);
      box.onsubmit = (event) => {
        event.preventDefault();
        close(Object.fromEntries(inputs.map(({ input }) => [input.name, input.files ? input.files[0] : input.value])));
      };
    });
  }

  picture(url) {
    const image = make("img", { className: "full-picture", src: url, alt: "", tabIndex: 0 });
    return this.#over(image, image, (close) => (image.onclick = () => close(null)));
  }

  #over(box, focused, wire) {
    return new Promise((resolve) => {
      const veil = make("div", { className: "veil" }, box);
      const close = (answer) => {
        veil.remove();
        resolve(answer);
      };
      veil.addEventListener("click", ({ target }) => target === veil && box.role !== "alertdialog" && close(null));
      veil.addEventListener("keydown", ({ key }) => key === "Escape" && close(null));
      wire(close);
      this.element.append(veil);
      focused.focus();
    });
  }
}

const pageLayer = make("div", { className: "layer page-layer" });
document.body.append(pageLayer);

export const askPage = (form) => new Layer(pageLayer).ask(form);

function field({ name, label, value = "", placeholder = "", options, accept, isLong, isRequired }) {
  const input = options
    ? make("select", { name }, ...options.map(([key, text]) => make("option", { value: key, textContent: text })))
    : make(isLong ? "textarea" : "input", { name, placeholder, required: Boolean(isRequired) });
  if (accept) Object.assign(input, { type: "file", accept });
  else if (!options) input.value = value;
  return { input, label: make("label", {}, make("span", { textContent: label }), input) };
}
