// Inline buttons, each doing what its kind does in the app.

import { icon, make } from "./dom.js";
import { copy } from "./text.js";

const SIGNS = { url: "link", copy_text: "copy", pay: "star" };

export function drawButtons(view, phone) {
  return view.buttons.map((row) => make("div", { className: "button-row" }, ...row.map((button) => draw(button, view, phone))));
}

function draw(button, view, phone) {
  const element = make("button", { className: "inline", textContent: button.text, dir: "auto" });
  if (["primary", "success", "danger"].includes(button.style)) element.classList.add(button.style);
  if (button.callback_data !== null) element.dataset.callback = button.callback_data;
  const kind = Object.keys(SIGNS).find((name) => button[name]);
  if (kind) element.append(icon(SIGNS[kind]));
  element.disabled = Boolean(button.disabled);
  element.onclick = (event) => {
    event.stopPropagation();
    press(button, view, phone);
  };
  return element;
}

function press(button, view, phone) {
  if (button.callback_data !== null) phone.taps.tap(view.message_id, button.callback_data);
  else if (button.url) phone.open(button.url);
  else if (button.copy_text) copy(button.copy_text.text, phone);
  else if (button.pay) pay(view, phone);
  else phone.layer.notice("The simulated app has no use for this button");
}

async function pay(view, phone) {
  const { title, total_amount } = view.service.invoice;
  const isPaid = await phone.layer.choose("Confirm the payment", `${title} for ${total_amount} Stars?`, { yes: "Pay", no: "Decline" });
  if (isPaid === null) return;
  const outcome = await phone.attempt(() => phone.api.pay(view.message_id, { isPaid }));
  if (outcome?.state === "paid") phone.layer.notice("Payment done");
  if (outcome?.state === "refused") phone.layer.alert(outcome.error_message, { title: "Payment refused" });
  if (outcome?.state === "expired" || outcome?.state === "asked") phone.layer.notice("The bot did not answer in time");
}
