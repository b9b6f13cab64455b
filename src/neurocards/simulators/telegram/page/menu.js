// The phone's menu: whatever else a person may do to a bot.

import { icon, make } from "./dom.js";

const LANGUAGES = [["ru", "Russian"], ["en", "English"], ["", "None"]];
const POST = "Marketplace sellers: cards with a video sell 30% better. /start @somebody https://example.com";

export class Menu {
  constructor(phone) {
    this.phone = phone;
    this.list = phone.seat.querySelector("div.menu");
    this.button = phone.seat.querySelector("button.menu");
    this.button.onclick = () => (this.list.hidden ? this.#open() : this.#close());
    phone.element.addEventListener("pointerdown", ({ target }) => {
      if (!this.list.contains(target) && !this.button.contains(target)) this.#close();
    });
    phone.element.addEventListener("keydown", ({ key }) => key === "Escape" && this.#close());
  }

  #open() {
    const { api } = this.phone;
    const isBlocked = Boolean(this.phone.face?.is_blocked);
    this.list.replaceChildren(
      this.#item("start", "play", "Send /start", () => api.start()),
      this.#item("deep-link", "link", "Open a deep link…", () => this.#askDeepLink()),
      this.#item("forward", "forward", "Forward a post…", () => this.#askForward()),
      this.#item("sticker", "sticker", "Send a sticker", () => api.sendSticker()),
      this.#item("voice", "voice", "Send a voice message", () => api.sendVoice()),
      this.#item("location", "place", "Send a location", () => api.sendLocation()),
      this.#languageItem(),
      isBlocked
        ? this.#item("unblock", "check", "Unblock the bot", () => api.unblock())
        : this.#item("block", "block", "Block the bot", () => api.block(), "danger"),
    );
    this.list.hidden = false;
  }

  #close() {
    this.list.hidden = true;
  }

  #item(action, sign, words, act, tone = "") {
    const item = make("button", { className: `menu-item ${tone}`, dataset: { action }, role: "menuitem" }, icon(sign), words);
    item.onclick = () => {
      this.#close();
      this.phone.attempt(act);
    };
    return item;
  }

  #languageItem() {
    const select = make(
      "select",
      { className: "language", ariaLabel: "App language" },
      ...LANGUAGES.map(([value, textContent]) => make("option", { value, textContent })),
    );
    const spoken = this.phone.person.language_code ?? "";
    if (!LANGUAGES.some(([code]) => code === spoken)) select.append(make("option", { value: spoken, textContent: spoken }));
    select.value = spoken;
    select.onchange = () => {
      this.#close();
      this.phone.attempt(() => this.phone.api.speak(select.value || null));
    };
    return make("label", { className: "menu-item", dataset: { action: "language" } }, icon("globe"), "App language", select);
  }

  async #askDeepLink() {
    const answer = await this.phone.layer.ask({
      title: "Open a deep link",
      fields: [{ name: "payload", label: `t.me/${this.phone.face.bot.username}?start=`, placeholder: "payload", isRequired: true }],
      action: "Open",
    });
    return answer && this.phone.api.start(answer.payload);
  }

  async #askForward() {
    const answer = await this.phone.layer.ask({
      title: "Forward a post",
      fields: [
        { name: "channel", label: "Channel", value: "Marketplace news", isRequired: true },
        { name: "text", label: "Text", value: POST, isLong: true },
        { name: "photo", label: "Photo", accept: "image/*" },
      ],
      action: "Forward",
    });
    return answer && this.phone.api.forward(answer);
  }
}
