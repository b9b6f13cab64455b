// Puts the page together: the shelf of phones, the drawer, and one stream of news for both.

import { Drawer } from "./drawer.js";
import { Shelf } from "./shelf.js";
import { Stream } from "./stream.js";

const connection = document.querySelector(".connection");
let worldKey = "";

const drawer = new Drawer({ onToggle: () => stream.open() });
const shelf = new Shelf({ onChange: () => stream.open() });
const stream = new Stream({
  parameters: () => ({ people: shelf.cursors(), seen: worldKey, ...drawer.parameters() }),
  onEvent(name, body) {
    if (name === "hello") greet(body);
    else if (name === "phone") shelf.receive(body);
    else drawer.receive(name, body, shelf);
  },
  onState(isConnected) {
    connection.textContent = isConnected ? "" : "Connection lost, trying again…";
    shelf.setConnected(isConnected);
  },
});

// Another world means that the simulator has begun anew: it knows none of our sellers.
async function greet({ world }) {
  if (worldKey && worldKey !== world) {
    drawer.forget();
    await shelf.bringBack();
  }
  worldKey = world;
}

await shelf.fill();
stream.open();
