// Small helpers to build elements; text goes in as text, never as markup.

export function make(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.classList.add("icon");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

// Puts `nodes` into `parent` in this order and touches only what is out of place: a moved video would stop.
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}

export function clockTime(seconds, { withSeconds = false } = {}) {
  const format = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) format.second = "2-digit";
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", format);
}

export function dayName(seconds) {
  const day = new Date(seconds * 1000);
  const today = new Date();
  if (day.toDateString() === today.toDateString()) return "Today";
  const format = { day: "numeric", month: "long" };
  if (day.getFullYear() !== today.getFullYear()) format.year = "numeric";
  return day.toLocaleDateString("en-GB", format);
}

export function fileSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const [number, unit] = bytes < 1024 ** 2 ? [bytes / 1024, "KB"] : [bytes / 1024 ** 2, "MB"];
  return `${number.toFixed(number < 10 ? 1 : 0)} ${unit}`;
}
