// One message. It is drawn once and then changed part by part, so that a playing video survives an edit.

import { drawButtons } from "./buttons.js";
import { clockTime, icon, make } from "./dom.js";
import { bubbleWidth, drawMedia } from "./media.js";
import { drawService } from "./service.js";
import { setFormatted } from "./text.js";

export class Bubble {
  #drawn = {};

  constructor(phone, view, { isArriving }) {
    this.phone = phone;
    this.view = view;
    this.head = make("div", { className: "bubble-head" });
    this.media = make("div", { className: "media" });
    this.words = make("div", { className: "words" });
    this.meta = make("span", { className: "meta" });
    this.reactions = make("div", { className: "reactions" });
    this.editTag = make("span", { className: "edit-tag", textContent: "1 new edit" });
    this.box = make("div", { className: "bubble" }, this.head, this.media, this.words, this.reactions, this.editTag);
    this.buttons = make("div", { className: "inline-buttons" });
    this.element = make("div", { className: "message" }, this.box, this.buttons, this.#actions());
    this.element.dataset.messageId = view.message_id;
    this.element.dataset.from = view.from_bot ? "bot" : "person";
    this.element.classList.toggle("arriving", isArriving);
    this.element.onclick = () => this.#select();
    this.update(view);
  }

  update(view) {
    this.view = view;
    this.#part("head", [view.service, view.reply_to_message_id], () => this.#drawHead());
    this.#part("media", [view.media?.url, view.media?.thumbnail_url], () => {
      this.media.replaceChildren(...drawMedia(view.media, this.phone));
    });
    this.#part("words", [this.#html, view.service], () => this.#drawWords());
    this.#part("meta", [view.edited_at, Boolean(this.#html ?? view.service)], () => this.#drawMeta());
    this.#part("buttons", view.buttons, () => {
      this.buttons.replaceChildren(...drawButtons(view, this.phone));
      this.drawBusy();
    });
    this.#part("reactions", view.reactions, () => {
      this.reactions.replaceChildren(...view.reactions.map(({ emoji }) => make("span", { textContent: emoji ?? "★" })));
    });
    const isOwnText = !view.from_bot && !view.service && ["photo", "document", "video", undefined].includes(view.media?.kind);
    this.element.classList.toggle("can-edit", isOwnText);
    const width = bubbleWidth(view.media);
    this.element.classList.toggle("with-media", width !== null);
    this.element.style.setProperty("--media-width", `${width}px`);
    this.element.classList.toggle("bare", view.media?.kind === "sticker");
    this.element.classList.toggle("only-media", (width !== null || view.media?.kind === "sticker") && !this.#html);
  }

  drawBusy() {
    for (const button of this.buttons.querySelectorAll("button[data-callback]")) {
      button.classList.toggle("busy", this.phone.taps.isBusy(this.view.message_id, button.dataset.callback));
    }
  }

  flash() {
    this.element.classList.remove("edited-now");
    void this.element.offsetWidth; // starts the animation again when it is still running
    this.element.classList.add("edited-now");
  }

  // Draws a part only when what it shows has changed.
  #part(name, shown, draw) {
    const drawn = JSON.stringify(shown);
    if (this.#drawn[name] === drawn) return;
    this.#drawn[name] = drawn;
    draw();
  }

  get #html() {
    return this.view.html ?? this.view.caption_html;
  }

  #drawHead() {
    const { service, reply_to_message_id } = this.view;
    const parts = [];
    if (service?.forward_origin) {
      const from = make("b", { textContent: service.forward_origin.chat.title, dir: "auto" });
      parts.push(make("p", { className: "forwarded" }, "Forwarded from ", from));
    }
    if (reply_to_message_id) parts.push(this.#reply(reply_to_message_id));
    this.head.replaceChildren(...parts);
  }

  #reply(id) {
    const quoted = this.phone.scrollback?.quoteOf(id);
    const who = quoted && !quoted.from_bot ? this.phone.person.first_name : this.phone.face.bot.name;
    const words = quoted?.text ?? quoted?.caption ?? (quoted?.media ? quoted.media.kind : "Deleted message");
    return make(
      "button",
      { className: "reply", onclick: () => this.phone.scrollback.show(id) },
      make("b", { textContent: who }),
      make("span", { textContent: words.slice(0, 120), dir: "auto" }),
    );
  }

  #drawWords() {
    const html = this.#html;
    const parts = drawService(this.view);
    if (html) {
      const text = make("div", { className: "text", dir: "auto" });
      setFormatted(text, html, this.phone);
      parts.push(text);
    }
    this.words.replaceChildren(...parts, ...(parts.length ? [this.meta] : []));
  }

  #drawMeta() {
    const { date, edited_at, from_bot } = this.view;
    this.meta.title = new Date(date * 1000).toLocaleString();
    this.meta.replaceChildren(
      ...(edited_at ? [make("i", { className: "edited", textContent: "edited " })] : []),
      make("time", { textContent: clockTime(date) }),
      ...(from_bot ? [] : [icon("read")]),
    );
    if (!this.words.contains(this.meta)) this.box.append(this.meta);
  }

  #actions() {
    const edit = make("button", { className: "edit", title: "Edit", onclick: () => this.phone.composer.beginEdit(this.view) }, icon("pencil"));
    const remove = make("button", { className: "delete", title: "Delete", onclick: () => this.#delete() }, icon("bin"));
    return make("div", { className: "actions" }, edit, remove);
  }

  #delete() {
    this.phone.attempt(() => this.phone.api.delete(this.view.message_id));
  }

  // Where nothing hovers, a touch brings up what can be done with a message.
  #select() {
    const wasSelected = this.element.classList.contains("selected");
    for (const other of this.phone.element.querySelectorAll(".message.selected")) other.classList.remove("selected");
    this.element.classList.toggle("selected", !wasSelected);
  }
}
