// What a person can do in the app, as requests to the simulator. A refusal carries the simulator's own sentence.

const root = new URL("sim/", document.baseURI);
const bot = new URL(location.href).searchParams.get("bot");

export class Refusal extends Error {}

export function address(path, parameters = {}) {
  const url = new URL(path, root);
  if (bot) url.searchParams.set("bot", bot);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url;
}

async function request(method, path, { body, parameters } = {}) {
  const isForm = body instanceof FormData;
  let answer;
  try {
    answer = await fetch(address(path, parameters), {
      method,
      body: isForm || body === undefined ? body : JSON.stringify(body),
      headers: isForm || body === undefined ? {} : { "Content-Type": "application/json" },
    });
  } catch {
    throw new Refusal("No connection");
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(typeof content?.detail === "string" ? content.detail : `Refused (${answer.status})`);
  return content;
}

export const world = {
  people: () => request("GET", "people"),
  addPerson: (person) => request("POST", "people", { body: person }),
  call: (id) => request("GET", `calls/${id}`),
  orderFault: (fault) => request("POST", "faults", { body: fault }),
  clearFault: (kind) => request("DELETE", "faults", { parameters: { kind } }),
};

export class PersonApi {
  #here;

  constructor(id) {
    this.#here = `people/${id}`;
  }

  start = (payload) => this.#post("start", payload ? { payload } : {});
  write = (text) => this.#post("text", { text });
  edit = (message_id, text) => this.#post("edit", { message_id, text });
  delete = (message_id) => this.#post("delete", { message_id });
  tap = (message_id, button) => this.#post("tap", { message_id, button });
  block = () => this.#post("block");
  unblock = () => this.#post("unblock");
  speak = (language_code) => this.#post("language", { language_code });
  sendSticker = () => this.#post("sticker");
  sendVoice = () => this.#post("voice");
  sendLocation = () => this.#post("location");
  earlier = (before) => request("GET", `${this.#here}/earlier`, { parameters: { before } });

  sendPhotos(files, caption) {
    return this.#post(files.length > 1 ? "album" : "photo", form({ caption }, files));
  }

  sendFile(file, caption) {
    return this.#post("document", form({ caption }, [file]));
  }

  forward({ channel, text, photo }) {
    return this.#post("forward", form({ channel, text }, photo ? [photo] : []));
  }

  // The outcome of a payment: the bot has ten seconds to agree, then it is over either way.
  async pay(message_id, { isPaid }) {
    const { checkout_id } = await this.#post(isPaid ? "pay" : "decline", { message_id });
    return request("GET", `checkouts/${checkout_id}`, { parameters: { wait: 15 } });
  }

  #post(what, body = {}) {
    return request("POST", `${this.#here}/${what}`, { body });
  }
}

function form(fields, files) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.set(name, value);
  for (const file of files) body.append("file", file, file.name);
  return body;
}
