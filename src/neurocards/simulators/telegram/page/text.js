// Formatted text: the simulator's own escaped HTML, and what apps make tappable in it.

const TAPPABLE = /(?<url>https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}»])|(?<before>^|[\s(])(?<command>\/[a-zA-Z0-9_]{1,32})(?![\w/])/g;

// The only place of the page where markup is taken as markup: it comes from the simulator, which escapes all else.
export function setFormatted(element, html, phone) {
  element.innerHTML = html;
  for (const link of element.querySelectorAll("a")) onTap(link, () => phone.open(link.href));
  for (const spoiler of element.querySelectorAll("tg-spoiler")) {
    spoiler.onclick = () => spoiler.classList.add("revealed");
  }
  for (const quote of element.querySelectorAll("blockquote[expandable]")) {
    quote.addEventListener("click", () => quote.classList.toggle("expanded"));
  }
  for (const code of element.querySelectorAll("code, pre")) {
    code.onclick = () => copy(code.textContent, phone);
  }
  for (const node of textNodes(element)) makeTappable(node, phone);
}

export async function copy(text, phone) {
  try {
    await navigator.clipboard.writeText(text);
    phone.layer.notice("Copied");
  } catch {
    phone.layer.notice("The browser does not let this page copy");
  }
}

function textNodes(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement.closest("a, code, pre") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
  );
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  return nodes;
}

function makeTappable(node, phone) {
  const parts = [];
  let at = 0;
  for (const match of node.data.matchAll(TAPPABLE)) {
    const { url, before = "", command } = match.groups;
    const begin = match.index + before.length;
    const act = url ? () => phone.open(url) : () => phone.attempt(() => phone.api.write(command));
    const link = document.createElement("a");
    link.textContent = url ?? command;
    if (url) link.href = url;
    else link.setAttribute("role", "button");
    onTap(link, act);
    parts.push(node.data.slice(at, begin), link);
    at = match.index + match[0].length;
  }
  if (at) node.replaceWith(...parts, node.data.slice(at));
}

function onTap(link, act) {
  link.rel = "noopener noreferrer";
  link.onclick = (event) => {
    event.preventDefault();
    act();
  };
}
