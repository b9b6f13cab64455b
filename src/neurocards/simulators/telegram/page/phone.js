// One phone: a person's chat with the bot, made of a head, the messages, the foot to write in, and a menu.

import { PersonApi, Refusal } from "./api.js";
import { Composer } from "./composer.js";
import { make } from "./dom.js";
import { Menu } from "./menu.js";
import { Scrollback } from "./scrollback.js";
import { Layer } from "./sheets.js";
import { Taps } from "./taps.js";

const ACTIONS = {
  typing: "typing…",
  upload_photo: "sending photo…",
  record_video: "recording video…",
  upload_video: "sending video…",
  record_voice: "recording voice…",
  upload_voice: "sending voice…",
  upload_document: "sending file…",
  choose_sticker: "choosing a sticker…",
  find_location: "choosing a place…",
  record_video_note: "recording video…",
  upload_video_note: "sending video…",
};

export class Phone {
  unseen = 0;
  #cursor = "";
  #isConnected = true;
  #face = null;

  constructor(person, { onRemove }) {
    this.person = person;
    this.api = new PersonApi(person.id);
    this.seat = document.getElementById("seat").content.firstElementChild.cloneNode(true);
    this.element = this.#find(".phone");
    this.element.dataset.person = person.id;
    this.#find(".remove-seller").onclick = onRemove;
    this.layer = new Layer(this.#find(".layer"));
    this.taps = new Taps(this);
    this.scrollback = new Scrollback(this);
    this.composer = new Composer(this);
    this.menu = new Menu(this);
    this.#drawPerson();
  }

  get face() {
    return this.#face;
  }

  cursor() {
    return this.#cursor ? `${this.person.id}~${this.#cursor}` : String(this.person.id);
  }

  receive(news) {
    this.#cursor = news.cursor;
    this.#face = news.face;
    this.person = news.face.person;
    this.#drawPerson();
    this.unseen += this.scrollback.receive(news);
    this.taps.receive(news.taps);
    this.#drawFace();
  }

  setConnected(isConnected) {
    this.#isConnected = isConnected;
    this.#drawState();
  }

  // Follows a link as the app does: one to our own bot is a start with a payload, others leave the app.
  open(url) {
    const link = URL.canParse(url) ? new URL(url) : null;
    const isOurs = link && /^(t\.me|telegram\.me)$/.test(link.hostname) && link.pathname === `/${this.#face.bot.username}`;
    if (isOurs) this.attempt(() => this.api.start(link.searchParams.get("start")));
    else if (link && /^(https?|tg|mailto|tel|ton):$/.test(link.protocol)) window.open(url, "_blank", "noopener,noreferrer");
  }

  // Does something for the person and says on the screen why it could not be done.
  async attempt(act) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.layer.notice(error.message);
      return null;
    }
  }

  #find(selector) {
    return this.seat.querySelector(selector);
  }

  #drawPerson() {
    const { id, first_name, language_code } = this.person;
    this.#find(".person-name").textContent = first_name;
    this.#find(".person-language").textContent = language_code ?? "—";
    this.#find(".person-id").textContent = id;
  }

  #drawFace() {
    const { bot, is_blocked } = this.#face;
    const isEmpty = this.scrollback.isEmpty;
    for (const avatar of this.seat.querySelectorAll(".avatar")) avatar.textContent = initials(bot.name);
    this.#find(".bot-name").textContent = bot.name;
    this.#find(".intro").hidden = !isEmpty;
    this.#find(".intro-name").textContent = bot.name;
    this.#find(".description").textContent = bot.description || "What this bot can do, it has not said yet.";
    this.#find(".person-blocked").hidden = !is_blocked;
    this.element.classList.toggle("blocked", is_blocked);
    this.composer.draw({ ...this.#face, isEmpty });
    this.#drawState();
  }

  #drawState() {
    const state = this.#find(".state");
    const words = this.#isConnected ? (ACTIONS[this.#face?.action] ?? "") : "connecting…";
    if (state.textContent === words) return;
    state.replaceChildren(words ? make("span", { textContent: words }) : "");
  }
}

function initials(name) {
  const letters = [...name.matchAll(/(?<![\p{L}\p{N}])[\p{L}\p{N}]/gu)].map(([letter]) => letter);
  return letters.slice(0, 2).join("").toUpperCase();
}
