// Where the person writes: text, photos and files, edits of what was said, commands, START and RESTART.

import { make } from "./dom.js";

const ALBUM_LIMIT = 10;
const LINES_PX = 140;

export class Composer {
  #edited = null;
  #draft = "";
  #sending = Promise.resolve();

  constructor(phone) {
    this.phone = phone;
    const find = (selector) => phone.seat.querySelector(selector);
    this.row = find(".composer");
    this.input = find(".compose");
    this.editing = find(".editing");
    this.commandsButton = find(".commands");
    this.commandList = find(".command-list");
    this.keyboard = find(".keyboard");
    this.startButton = find(".start");
    this.restartButton = find(".restart");
    this.send = find(".send");
    this.#wireInput();
    this.#wireFiles(find);
    for (const button of [this.startButton, this.restartButton]) {
      button.onclick = () => phone.attempt(() => phone.api.start());
    }
    this.commandsButton.onclick = () => this.#toggleCommands();
    find(".cancel-edit").onclick = () => this.#endEdit();
    phone.element.addEventListener("pointerdown", ({ target }) => {
      if (!this.commandList.contains(target) && !this.commandsButton.contains(target)) this.commandList.hidden = true;
    });
  }

  draw({ bot, is_blocked, isEmpty, keyboard }) {
    this.restartButton.hidden = !is_blocked;
    this.startButton.hidden = is_blocked || !isEmpty;
    this.row.hidden = is_blocked || isEmpty;
    this.#drawKeyboard(this.row.hidden ? [] : (keyboard ?? []));
    this.commandsButton.hidden = !bot.commands.length;
    this.commandList.replaceChildren(
      ...bot.commands.map(({ command, description }) =>
        make(
          "button",
          { className: "command", onclick: () => this.#say(`/${command}`) },
          make("b", { textContent: `/${command}` }),
          make("span", { textContent: description, dir: "auto" }),
        ),
      ),
    );
  }

  beginEdit(view) {
    if (!this.#edited) this.#draft = this.input.value;
    this.#edited = view.message_id;
    this.editing.hidden = false;
    this.editing.querySelector(".edited-text").textContent = view.text ?? view.caption ?? "caption";
    this.#fill(view.text ?? view.caption ?? "");
    this.input.focus();
  }

  #endEdit() {
    this.#edited = null;
    this.editing.hidden = true;
    this.#fill(this.#draft);
    this.#draft = "";
  }

  #wireInput() {
    this.input.oninput = () => this.#fit();
    this.input.onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      }
      if (event.key === "Escape" && this.#edited) this.#endEdit();
    };
    this.input.onpaste = (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.#sendPicked([...event.clipboardData.files]);
    };
    this.send.onclick = () => this.#submit();
  }

  #wireFiles(find) {
    for (const [kind, sendAll] of [["photo", this.#sendPicked], ["file", this.#sendAsFiles]]) {
      const input = find(`.pick-${kind}`);
      find(`.pick-${kind}-button`).onclick = () => input.click();
      input.onchange = () => {
        sendAll.call(this, [...input.files]);
        input.value = "";
      };
    }
    const note = find(".drop-note");
    const { element } = this.phone;
    element.addEventListener("dragover", (event) => {
      if (this.row.hidden || ![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      note.hidden = false;
    });
    element.addEventListener("dragleave", ({ relatedTarget }) => {
      if (!element.contains(relatedTarget)) note.hidden = true;
    });
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      note.hidden = true;
      if (!this.row.hidden) this.#sendPicked([...event.dataTransfer.files]);
    });
  }

  #submit() {
    const text = this.input.value;
    if (this.#edited) {
      const message = this.#edited;
      this.#endEdit();
      this.#enqueue(() => this.phone.api.edit(message, text));
    } else if (text.trim()) {
      this.#fill("");
      this.#enqueue(() => this.phone.api.write(text), text);
    }
  }

  #say(text) {
    this.commandList.hidden = true;
    this.#enqueue(() => this.phone.api.write(text));
  }

  // Pictures go as photos, several as albums; anything else can only go as a file. The text is the caption.
  #sendPicked(files) {
    const photos = files.filter((file) => file.type.startsWith("image/"));
    const others = files.filter((file) => !file.type.startsWith("image/"));
    let caption = this.#takeCaption();
    for (let at = 0; at < photos.length; at += ALBUM_LIMIT) {
      const words = caption;
      this.#enqueue(() => this.phone.api.sendPhotos(photos.slice(at, at + ALBUM_LIMIT), words), words);
      caption = "";
    }
    this.#sendAsFiles(others, caption);
  }

  #sendAsFiles(files, given) {
    let caption = files.length && given === undefined ? this.#takeCaption() : given;
    for (const file of files) {
      const words = caption;
      this.#enqueue(() => this.phone.api.sendFile(file, words), words);
      caption = "";
    }
  }

  #takeCaption() {
    if (this.#edited) return "";
    const caption = this.input.value.trim();
    this.#fill("");
    return caption;
  }

  // One after the other, as said; words that could not be sent come back to where they were written.
  #enqueue(send, words = "") {
    this.row.classList.add("sending");
    this.#sending = this.#sending.then(async () => {
      const sent = await this.phone.attempt(send);
      if (sent === null && words && !this.input.value) this.#fill(words);
    });
    const mine = this.#sending;
    mine.then(() => mine === this.#sending && this.row.classList.remove("sending"));
  }

  #toggleCommands() {
    this.commandList.hidden = !this.commandList.hidden;
  }

  #drawKeyboard(rows) {
    this.keyboard.hidden = !rows.length;
    this.keyboard.replaceChildren(
      ...rows.map((row) =>
        make("div", { className: "button-row" }, ...row.map((text) => make("button", { textContent: text, onclick: () => this.#say(text) }))),
      ),
    );
  }

  #fill(text) {
    this.input.value = text;
    this.#fit();
  }

  #fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, LINES_PX)}px`;
    this.send.classList.toggle("ready", Boolean(this.input.value.trim()));
  }
}
