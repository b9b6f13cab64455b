// The messages of one chat in order: days, albums, a view that sticks to the end, pills for what is out of sight.

import { Bubble } from "./bubble.js";
import { arrange, dayName, make } from "./dom.js";

const END_PX = 60; // this close to the end counts as being there
const EARLIER_PX = 300;
const EDIT_PILL_MS = 4000;

export class Scrollback {
  #bubbles = new Map();
  #albums = new Map();
  #days = new Map();
  #hasEarlier = false;
  #isLoading = false;
  #isAtEnd = true;
  #lastTop = 0;
  #below = 0;
  #pillTimer = 0;

  constructor(phone) {
    this.phone = phone;
    this.view = phone.seat.querySelector(".scroll");
    this.list = phone.seat.querySelector(".messages");
    this.newPill = phone.seat.querySelector(".new-pill");
    this.editedPill = phone.seat.querySelector(".edited-pill");
    this.newPill.onclick = () => this.toEnd();
    this.view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const follow = new ResizeObserver(() => this.#isAtEnd && this.toEnd());
    follow.observe(this.view);
    follow.observe(this.list);
  }

  get isEmpty() {
    return !this.#bubbles.size;
  }

  // Takes in the news of the chat; returns how many messages of the bot are new.
  receive({ is_fresh, messages, has_earlier }) {
    if (is_fresh) this.#forget(has_earlier);
    const heldPlace = this.#isAtEnd ? null : this.#place();
    let fromBot = 0;
    let isOwn = false;
    for (const view of messages) {
      const isNew = this.#take(view, { isFresh: is_fresh });
      if (isNew && view.from_bot) fromBot += 1;
      if (isNew && !view.from_bot) isOwn = true;
    }
    this.#layOut();
    if (this.#isAtEnd || isOwn || is_fresh) this.toEnd();
    else {
      this.#restore(heldPlace);
      this.#below += fromBot;
      this.#drawPill();
    }
    return is_fresh ? 0 : fromBot;
  }

  toEnd() {
    this.view.scrollTop = this.view.scrollHeight;
    this.#isAtEnd = true;
    this.#below = 0;
    this.#drawPill();
  }

  drawBusy(messageId) {
    this.#bubbles.get(messageId)?.drawBusy();
  }

  quoteOf(messageId) {
    return this.#bubbles.get(messageId)?.view ?? null;
  }

  show(messageId) {
    const bubble = this.#bubbles.get(messageId);
    if (!bubble) return;
    bubble.box.scrollIntoView({ block: "center", behavior: "smooth" });
    bubble.flash();
  }

  // Puts one message where it belongs in our knowledge; true when it had not been there.
  #take(view, { isFresh }) {
    const id = view.message_id;
    const bubble = this.#bubbles.get(id);
    if (view.deleted) {
      this.#bubbles.delete(id);
      return false;
    }
    if (bubble) {
      const wasEdited = view.edit_count > bubble.view.edit_count;
      bubble.update(view);
      if (wasEdited) this.#noticeEdit(bubble);
      return false;
    }
    // An old message changed that this page has not loaded: it will come with its own page.
    if (!isFresh && this.#hasEarlier && id < this.#firstId()) return false;
    this.#bubbles.set(id, new Bubble(this.phone, view, { isArriving: !isFresh }));
    return true;
  }

  #layOut() {
    const nodes = [];
    const used = { days: new Set(), albums: new Set() };
    const bubbles = [...this.#bubbles.values()].sort((a, b) => a.view.message_id - b.view.message_id);
    bubbles.forEach((bubble, at) => {
      const { date, from_bot, media_group_id } = bubble.view;
      const day = dayName(date);
      const isNewDay = !used.days.has(day);
      if (isNewDay) {
        used.days.add(day);
        nodes.push(this.#node(this.#days, day, () => make("div", { className: "day", textContent: day })));
      }
      const next = bubbles[at + 1]?.view;
      bubble.element.classList.toggle("last-of-run", !next || next.from_bot !== from_bot || dayName(next.date) !== day);
      if (!media_group_id) {
        nodes.push(bubble.element);
        return;
      }
      const album = this.#node(this.#albums, media_group_id, () => make("div", { className: "album" }));
      if (!used.albums.has(media_group_id)) {
        used.albums.add(media_group_id);
        album.dataset.from = bubble.element.dataset.from;
        nodes.push(album);
        const members = bubbles.filter((one) => one.view.media_group_id === media_group_id);
        arrange(album, members.map((one) => one.element));
        album.dataset.shape = members.length % 2 ? "odd" : "even";
      }
    });
    for (const [known, alive] of [[this.#days, used.days], [this.#albums, used.albums]]) {
      for (const key of known.keys()) if (!alive.has(key)) known.delete(key);
    }
    arrange(this.list, nodes);
  }

  #node(known, key, create) {
    if (!known.has(key)) known.set(key, create());
    return known.get(key);
  }

  #forget(hasEarlier) {
    this.#bubbles.clear();
    this.#hasEarlier = hasEarlier;
    this.#isAtEnd = true;
  }

  #firstId() {
    return Math.min(...this.#bubbles.keys());
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.view;
    // Content that grows leaves the end behind, too; only a move upwards means that somebody wants to read there.
    const movedUp = scrollTop < this.#lastTop;
    this.#lastTop = scrollTop;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < END_PX || (this.#isAtEnd && !movedUp);
    if (this.#isAtEnd) this.#below = 0;
    this.#drawPill();
    if (scrollTop < EARLIER_PX && this.#hasEarlier && !this.#isLoading) this.#loadEarlier();
  }

  async #loadEarlier() {
    this.#isLoading = true;
    const page = await this.phone.attempt(() => this.phone.api.earlier(this.#firstId()));
    if (page) {
      const heldPlace = this.#place();
      for (const view of page.messages) this.#take(view, { isFresh: true });
      this.#layOut();
      this.#restore(heldPlace);
      this.#hasEarlier = page.has_earlier;
    }
    this.#isLoading = false;
  }

  // The first message in sight and where it is, so that what happens above does not push it away.
  #place() {
    const top = this.view.getBoundingClientRect().top;
    for (const child of this.list.querySelectorAll(":scope > :not(.day)")) {
      const box = child.getBoundingClientRect();
      if (box.bottom > top) return { child, top: box.top };
    }
    return null;
  }

  #restore(place) {
    if (place?.child.isConnected) this.view.scrollTop += place.child.getBoundingClientRect().top - place.top;
  }

  #drawPill() {
    this.newPill.hidden = this.#isAtEnd;
    this.newPill.classList.toggle("bare", !this.#below);
    this.newPill.textContent = this.#below ? `${this.#below} new message${this.#below > 1 ? "s" : ""}` : "";
    this.newPill.title = "To the end";
  }

  #noticeEdit(bubble) {
    bubble.flash();
    const box = bubble.box.getBoundingClientRect();
    const view = this.view.getBoundingClientRect();
    if (box.bottom > view.top && box.top < view.bottom) return;
    this.editedPill.hidden = false;
    this.editedPill.onclick = () => {
      this.editedPill.hidden = true;
      this.show(bubble.view.message_id);
    };
    clearTimeout(this.#pillTimer);
    this.#pillTimer = setTimeout(() => (this.editedPill.hidden = true), EDIT_PILL_MS);
  }
}
