// What a message shows besides text: photos, videos, files, voice and stickers, all downloadable.

import { fileSize, icon, make } from "./dom.js";

const IS_PICTURE = new Set(["photo", "video", "animation"]);
const SHOWN_AS_PICTURE = /^image\/(jpeg|png|webp|gif)$/;

export function drawMedia(media, phone) {
  if (!media) return [];
  switch (media.kind) {
    case "photo":
      return [photo(media, phone)];
    case "video":
    case "animation":
      return [video(media), download(media)];
    case "sticker":
      return [make("img", { className: "sticker", src: media.url, alt: "Sticker" })];
    case "voice":
      return [make("audio", { className: "voice", src: media.url, controls: true, preload: "metadata" })];
    default:
      return [file(media, phone)];
  }
}

// How wide a bubble with this picture or video wants to be, in pixels; null for other media.
export function bubbleWidth(media) {
  return IS_PICTURE.has(media?.kind) ? Math.round(Math.min(310, 400 * ratio(media))) : null;
}

function photo(media, phone) {
  const image = make("img", { className: "photo", src: media.url, alt: "Photo", draggable: false });
  image.onclick = () => phone.layer.picture(media.url);
  return shaped(image, media);
}

function video(media) {
  const isAnimation = media.kind === "animation";
  const player = make("video", {
    className: "video",
    controls: true,
    playsInline: true,
    loop: isAnimation,
    // A page full of videos must not keep the browser's few connections busy before one is wanted.
    preload: media.thumbnail_url ? "none" : "metadata",
    src: media.url,
  });
  if (media.thumbnail_url) player.poster = media.thumbnail_url;
  return shaped(player, media);
}

// The place a picture will take is known before it is there, so nothing jumps when it arrives.
function shaped(element, media) {
  element.style.aspectRatio = String(ratio(media));
  return element;
}

function ratio({ width, height }) {
  return width && height ? Math.min(Math.max(width / height, 0.5), 2.5) : 1;
}

function file(media, phone) {
  const isPicture = SHOWN_AS_PICTURE.test(media.mime_type ?? "");
  const preview = isPicture
    ? make("img", { className: "preview", src: media.thumbnail_url ?? media.url, alt: "", onclick: () => phone.layer.picture(media.url) })
    : make("span", { className: "file-sign" }, icon(media.mime_type?.startsWith("video/") ? "film" : "file"));
  return make(
    "div",
    { className: "file" },
    preview,
    make(
      "div",
      { className: "file-about" },
      make("b", { className: "file-name", textContent: media.name ?? "file", dir: "auto" }),
      make("span", { className: "file-size", textContent: fileSize(media.size) }),
    ),
    download(media),
  );
}

function download(media) {
  const name = media.name ?? (media.kind === "document" ? "file" : "video.mp4");
  return make("a", { className: "download", href: media.url, download: name, title: `Download, ${fileSize(media.size)}` }, icon("down"));
}
