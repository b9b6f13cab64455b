// Taps on inline buttons: a spinner until the bot has answered, then its notice, alert or link.

const FORGOTTEN_MS = 150_000; // later than that Telegram takes no answer
const ANSWERED_KEPT = 50;

export class Taps {
  #busy = new Map();
  #answered = new Set();

  constructor(phone) {
    this.phone = phone;
  }

  isBusy(messageId, data) {
    return [...this.#busy.values()].some((tap) => tap.message_id === messageId && tap.data === data);
  }

  async tap(messageId, data) {
    const tap = { message_id: messageId, data };
    const finger = Symbol(data);
    this.#begin(finger, tap);
    const sent = await this.phone.attempt(() => this.phone.api.tap(messageId, data));
    // The stream may have brought the bot's answer before we hear which tap this was.
    if (sent && !this.#answered.has(sent.callback_query_id)) this.#begin(sent.callback_query_id, tap);
    this.#end(finger);
  }

  receive(taps) {
    for (const tap of taps) {
      if (tap.answered) this.#finish(tap);
      else this.#begin(tap.id, tap);
    }
  }

  #finish(tap) {
    this.#answered.add(tap.id);
    if (this.#answered.size > ANSWERED_KEPT) this.#answered.delete(this.#answered.values().next().value);
    this.#end(tap.id);
    if (tap.url) this.phone.open(tap.url);
    if (!tap.text) return;
    if (tap.show_alert) this.phone.layer.alert(tap.text, { title: this.phone.face.bot.name });
    else this.phone.layer.notice(tap.text);
  }

  #begin(key, tap) {
    if (!this.#busy.has(key)) setTimeout(() => this.#end(key), FORGOTTEN_MS);
    this.#busy.set(key, tap);
    this.phone.scrollback.drawBusy(tap.message_id);
  }

  #end(key) {
    const tap = this.#busy.get(key);
    if (!tap) return;
    this.#busy.delete(key);
    this.phone.scrollback.drawBusy(tap.message_id);
  }
}
