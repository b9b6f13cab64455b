// Which phones are shown: side by side on a desk, one at a time behind tabs on a narrow screen. The URL keeps it.

import { Refusal, world } from "./api.js";
import { make } from "./dom.js";
import { Phone } from "./phone.js";
import { askPage } from "./sheets.js";

const SHOWN_AT_MOST = 12;
const LANGUAGES = [["ru", "Russian app"], ["en", "English app"], ["", "no language"]];
const NAMES = ["Vera", "Oleg", "Nina", "Timur", "Lada", "Egor", "Zoya", "Mark"];

export class Shelf {
  #phones = new Map();
  #active = 0;

  constructor({ onChange }) {
    this.onChange = onChange;
    this.element = document.querySelector(".shelf");
    this.tabs = document.querySelector(".tabs");
    document.body.classList.toggle("plain", new URL(location.href).searchParams.get("plain") === "1");
    document.querySelector(".add-seller").onclick = () => this.#askForSeller();
  }

  // The people of the URL, else those that exist, else one who has just arrived.
  async fill() {
    const listed = new URL(location.href).searchParams.get("people");
    const existing = await this.#existing();
    if (listed) {
      for (const id of listed.split(",").map(Number).filter((id) => Number.isSafeInteger(id) && id > 0)) {
        this.#place(existing.get(id) ?? (await world.addPerson({ id, ...this.#newcomer() })));
      }
    } else {
      for (const person of [...existing.values()].slice(-SHOWN_AT_MOST)) this.#place(person);
    }
    if (!this.#phones.size) this.#place(await world.addPerson(this.#newcomer()));
    this.#settle();
  }

  // After a restart of the simulator: the same people move in again.
  async bringBack() {
    const existing = await this.#existing();
    for (const { person } of this.#phones.values()) if (!existing.has(person.id)) await world.addPerson(person);
  }

  cursors() {
    return [...this.#phones.values()].map((phone) => phone.cursor()).join(",");
  }

  receive(news) {
    const phone = this.#phones.get(news.id);
    if (!phone) return;
    phone.receive(news);
    this.#drawTabs();
  }

  setConnected(isConnected) {
    for (const phone of this.#phones.values()) phone.setConnected(isConnected);
  }

  nameOf(id) {
    return this.#phones.get(Number(id))?.person.first_name ?? "";
  }

  async #existing() {
    for (;;) {
      try {
        return new Map((await world.people()).map((person) => [person.id, person]));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  }

  #newcomer() {
    return { first_name: NAMES[this.#phones.size % NAMES.length], language_code: "ru" };
  }

  #place(person) {
    if (this.#phones.has(person.id)) return;
    const phone = new Phone(person, { onRemove: () => this.#remove(person.id) });
    this.#phones.set(person.id, phone);
    this.element.append(phone.seat);
    this.#active = person.id;
  }

  #remove(id) {
    this.#phones.get(id).seat.remove();
    this.#phones.delete(id);
    this.#settle();
    this.onChange();
  }

  // Brings tabs and URL in line with the phones there are.
  #settle({ show } = {}) {
    const ids = [...this.#phones.keys()];
    this.#active = show ?? (ids.includes(this.#active) && this.tabs.childElementCount ? this.#active : ids[0]);
    const url = new URL(location.href);
    url.searchParams.set("people", ids.join(","));
    history.replaceState(null, "", url.href.replaceAll("%2C", ","));
    this.#drawTabs();
  }

  #drawTabs() {
    const tabs = [...this.#phones.values()].map((phone) => {
      const isActive = phone.person.id === this.#active;
      phone.seat.classList.toggle("active", isActive);
      if (isActive) phone.unseen = 0;
      return make(
        "button",
        {
          className: isActive ? "tab active" : "tab",
          onclick: () => {
            this.#active = phone.person.id;
            this.#drawTabs();
          },
        },
        phone.person.first_name,
        phone.unseen ? make("b", { className: "unread", textContent: phone.unseen }) : null,
      );
    });
    this.tabs.replaceChildren(...tabs);
    this.tabs.hidden = tabs.length < 2;
  }

  async #askForSeller() {
    const absent = [...(await this.#existing()).values()].filter((person) => !this.#phones.has(person.id));
    const answer = await askPage({
      title: "Add a seller",
      fields: [
        { name: "first_name", label: "Name", value: this.#newcomer().first_name, isRequired: true },
        { name: "language_code", label: "App language", options: LANGUAGES },
        absent.length
          ? {
              name: "known",
              label: "or somebody who is here already",
              options: [["", "nobody"], ...absent.slice(-50).map((one) => [one.id, `${one.first_name} · ${one.id}`])],
            }
          : null,
      ],
      action: "Add",
    });
    if (!answer) return;
    const { first_name, language_code, known } = answer;
    const person = known
      ? absent.find((one) => String(one.id) === known)
      : await world.addPerson({ first_name, language_code: language_code || null });
    this.#place(person);
    this.#settle({ show: person.id });
    this.onChange();
    this.#phones.get(person.id).seat.scrollIntoView({ behavior: "smooth", inline: "end" });
  }
}
