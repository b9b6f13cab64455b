// Messages that are no words: places, invoices and payments.

import { icon, make } from "./dom.js";

export function drawService({ service }) {
  if (!service) return [];
  const { location, invoice, successful_payment, refunded_payment } = service;
  const parts = [];
  if (location) {
    const at = `${location.latitude.toFixed(4)}, ${location.longitude.toFixed(4)}`;
    parts.push(make("div", { className: "place" }, make("span", { className: "file-sign" }, icon("place")), make("span", { textContent: at })));
  }
  if (invoice) {
    parts.push(
      make(
        "div",
        { className: "invoice" },
        make("b", { textContent: invoice.title, dir: "auto" }),
        make("p", { textContent: invoice.description, dir: "auto" }),
        stars(invoice.total_amount),
      ),
    );
  }
  if (successful_payment) parts.push(payment("You paid", successful_payment));
  if (refunded_payment) parts.push(payment("You got back", refunded_payment));
  return parts;
}

function payment(words, { total_amount }) {
  return make("div", { className: "payment" }, `${words} `, stars(total_amount));
}

function stars(amount) {
  return make("span", { className: "stars" }, icon("star"), String(amount));
}
