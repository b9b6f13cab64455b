"""Product photos: is it usable, and the clean 9:16 frame that a video starts from.

A photo is a stranger's file. Its bytes and its header are judged before a pixel is decoded, only three formats are ever
opened, and what goes out is always drawn anew: upright, sRGB, with no metadata and nothing hidden behind the picture.
"""

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

MAX_PHOTO_BYTES = 20 * 1024 * 1024
"""What a bot can download from Telegram."""
MAX_PIXELS = {"JPEG": 50_000_000, "PNG": 25_000_000, "WEBP": 16_000_000}
"""A decoder's memory grows with the pixels and not with the file: a JPEG is decoded smaller than it is, while a WebP
takes sixteen bytes for each pixel. Whatever is admitted takes less than 300 MB."""
MIN_SHORT_SIDE = 300
MAX_ASPECT = 3.0
MAX_SCANS = 64
"""Scans of one JPEG; real ones have about ten. Each costs a pass over all pixels, for a few bytes of file."""
MAX_PIECES = 20_000
"""Chunks of a PNG, or segments of a JPEG and stray bytes between them: the largest real photo has some thousand. Each
is looked at by slow code, and a file of 20 MB has room for millions."""

FILL_TOLERANCE = 0.03
"""How far from the frame's aspect a photo may be and still fill the frame; a sliver at two edges is lost."""
MAX_ENLARGEMENT = 2.0

Floats = npt.NDArray[np.float64]

_FORMATS = ("JPEG", "PNG", "WEBP")
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error)
"""What decoders raise over damaged files. Not all exceptions: a mistake of ours is no fault of the photo."""
_SOME_IMAGE = re.compile(
    rb"II\*\0|MM\0\*|II\+\0|MM\0\+"  # TIFF, BigTIFF and most raw photos
    rb"|BM.{4}\0\0\0\0|8BPS|\0\0[\x01\x02]\0|DDS |qoif|\x76\x2f\x31\x01"  # BMP, Photoshop, icons, DDS, QOI, OpenEXR
    rb"|\xff\x0a|\0\0\0\x0cJXL |\0\0\0\x0cjP  |\xff\x4f\xff\x51"  # JPEG XL, JPEG 2000
    rb"|.{4}ftypcrx "  # Canon raw
    rb"|(?:\xef\xbb\xbf)?\s{0,200}(?:<svg\b|<(?:\?xml|!--|!doctype svg).{0,2000}?<svg\b)",
    re.DOTALL | re.IGNORECASE,
)
_OURS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP", re.DOTALL)
_HEIC = re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1|avi[fs])", re.DOTALL)
_ANIMATED_ONLY = re.compile(rb"GIF8[79]a")
_JPEG_MARKER = re.compile(rb"\xff+([^\0\xff\xd0-\xd7])", re.DOTALL)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture with the given EXIF orientation is brought upright."""
_SIDEWAYS = frozenset({5, 6, 7, 8})
_ORIENTATION_TAG = 0x0112

# For the whole process and once: warnings.catch_warnings is not safe in threads, and here everything runs in them.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Odd EXIF is common in strangers' photos, and nobody can act on it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class PhotoFault(StrEnum):
    """Why a photo cannot be used. Each has words for customers."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    """One of our formats, cut short or damaged."""
    ANIMATED = "animated"
    HEIC = "heic"
    """What iPhones keep, or its younger brother AVIF: whoever sends it can do something about it."""
    UNSUPPORTED = "unsupported"
    """A picture, but of a kind that we do not take."""
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    TOO_LONG = "too_long"
    """A strip: one side is more than three times the other."""
    TOO_HEAVY = "too_heavy"
    """Opening it takes more time or memory than any photo may take, or ends the process that does it."""


class BadPhoto(Exception):
    """The photo cannot be used; `code` says why."""

    def __init__(self, code: PhotoFault, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class PhotoFacts:
    """What a usable photo is: its size as seen upright, and JPEG, PNG or WEBP."""

    width: int
    height: int
    format: str
    size_bytes: int


def check_photo(data: bytes) -> PhotoFacts:
    """Decode the whole photo and tell what it is; raises BadPhoto."""
    with _decoding():
        image = _opened(data)
        width, height = _upright_size(image)
        # A JPEG is read to its end for an eighth as well, in a tenth of the memory.
        image.draft(None, (width // 8, height // 8))
        image.load()
        return PhotoFacts(width, height, _format(image), len(data))


def compose_frame(data: bytes, *, width: int = 1080, height: int = 1920) -> bytes:
    """The photo as the JPEG a vertical video starts from; raises BadPhoto.

    The photo stands whole inside the central 3:4, which every marketplace shows, on a soft continuation of itself.
    Only one that already has the frame's shape fills the frame.
    """
    with _decoding():
        image = _opened(data)
        across, down = _upright_size(image)
        if abs(across * height / (down * width) - 1.0) <= FILL_TOLERANCE:
            frame = _filled(image, max(width / across, height / down), (width, height))
        else:
            scale = min(width / across, min(width * 4 / 3, height) / down, MAX_ENLARGEMENT)
            frame = _framed(_rendered(image, _scaled((across, down), scale)), (width, height))
        return _jpeg(frame, quality=92)


def preview(data: bytes, *, longest: int = 768) -> bytes:
    """A small JPEG of the photo for the prompt writer; raises BadPhoto."""
    with _decoding():
        image = _opened(data)
        size = _upright_size(image)
        return _jpeg(_rendered(image, _scaled(size, min(1.0, longest / max(size)))), quality=85)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG that was made here; of a stranger's file `check_photo` tells."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return image.size


# Opening --------------------------------------------------------------------------------------------------------------


@contextmanager
def _decoding() -> Iterator[None]:
    """What decoders raise, as BadPhoto."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise BadPhoto(PhotoFault.TOO_MANY_PIXELS, str(bomb)) from bomb
    except _DAMAGE as error:
        raise BadPhoto(PhotoFault.TRUNCATED, f"{type(error).__name__}: {error}") from error


def _opened(data: bytes) -> ImageFile:
    """The photo, not yet decoded: everything that its bytes and header can tell has been checked."""
    if not data:
        raise BadPhoto(PhotoFault.EMPTY)
    if len(data) > MAX_PHOTO_BYTES:
        raise BadPhoto(PhotoFault.TOO_MANY_BYTES, f"{len(data)} bytes")
    if not _OURS.match(data):
        raise BadPhoto(_kind_of_stranger(data))
    if _pieces(data) > MAX_PIECES:
        raise BadPhoto(PhotoFault.UNSUPPORTED, "too many pieces")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise BadPhoto(PhotoFault.TRUNCATED, "the header is damaged") from error
    if _format(image) != "JPEG" and getattr(image, "is_animated", False):
        raise BadPhoto(PhotoFault.ANIMATED)
    _check_size(*image.size, most_pixels=MAX_PIXELS[_format(image)])
    if image.info.get("progressive") and _scan_count(data) > MAX_SCANS:
        raise BadPhoto(PhotoFault.UNSUPPORTED, "too many scans")
    return image


def _kind_of_stranger(data: bytes) -> PhotoFault:
    if _ANIMATED_ONLY.match(data):
        return PhotoFault.ANIMATED
    if _HEIC.match(data):
        return PhotoFault.HEIC
    return PhotoFault.UNSUPPORTED if _SOME_IMAGE.match(data) else PhotoFault.NOT_AN_IMAGE


def _format(image: ImageFile) -> str:
    # Phones write JPEGs with a second picture behind the first (MPO); only the first is ever read.
    return "JPEG" if image.format == "MPO" else str(image.format)


def _check_size(width: int, height: int, *, most_pixels: int) -> None:
    measures = f"{width}x{height}"
    if width * height > most_pixels:
        raise BadPhoto(PhotoFault.TOO_MANY_PIXELS, measures)
    if min(width, height) < MIN_SHORT_SIDE:
        raise BadPhoto(PhotoFault.TOO_SMALL, measures)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadPhoto(PhotoFault.TOO_LONG, measures)


def _pieces(data: bytes) -> int:
    """Of how many chunks or segments, and stray bytes, a photo is; counting stops when there are too many."""
    if data.startswith(b"\x89PNG"):
        return _png_pieces(data)
    return _jpeg_pieces(data) if data.startswith(b"\xff\xd8") else 1


def _png_pieces(data: bytes) -> int:
    pieces, position = 0, 8
    while pieces <= MAX_PIECES and position < len(data):
        pieces += 1
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return pieces


def _jpeg_pieces(data: bytes) -> int:
    pieces, position = 0, 2
    while pieces <= MAX_PIECES and (found := _JPEG_MARKER.search(data, position)):
        if found[1][0] == 0xDA:  # the picture itself begins
            break
        pieces += 1 + found.end() - position - 2
        position = found.end()
        if found[1][0] not in (0x01, 0xD8, 0xD9):  # markers without a length
            position += int.from_bytes(data[position : position + 2], "big")
    return pieces if found else pieces + len(data) - position


def _scan_count(data: bytes) -> int:
    """How many scans a JPEG's markers announce; counting stops when there are too many."""
    scans, position = 0, 2
    while scans <= MAX_SCANS and (found := _JPEG_MARKER.search(data, position)):
        position = found.end()
        match found[1][0]:
            case 0xD9:  # the end of the picture; what follows is not decoded
                break
            case 0x01 | 0xD8:  # markers without a length
                continue
            case 0xDA:
                scans += 1
        position += int.from_bytes(data[position : position + 2], "big")
    return scans


# Rendering ------------------------------------------------------------------------------------------------------------


def _orientation(image: ImageFile) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # odd EXIF raises many things, and costs the photo its orientation, not its life
        return 1


def _upright_size(image: ImageFile) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _rendered(image: ImageFile, size: tuple[int, int]) -> Image.Image:
    """The whole photo at an upright size: RGB in sRGB, on white.

    It is scaled before anything else is done, because nearly all the work is per pixel.
    """
    orientation = _orientation(image)
    stored_size = size[::-1] if orientation in _SIDEWAYS else size
    image.draft(None, stored_size)  # a JPEG is decoded at a half or less where that is enough
    profile = image.info.get("icc_profile")
    scaled = _continuous(image).resize(stored_size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    coloured = _on_white(scaled, profile if isinstance(profile, bytes) else None)
    turn = _UPRIGHT.get(orientation)
    return coloured if turn is None else coloured.transpose(turn)


def _continuous(image: Image.Image) -> Image.Image:
    """The picture in a mode whose values can be averaged: no palette, no bits, no 16-bit grey."""
    if image.mode.startswith("I"):
        # Pillow's own conversion clips: everything lighter than 1/256 of white would become white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    match image.mode:
        case "RGB" | "L" | "CMYK":
            return image
        case "1":
            return image.convert("L")
        case _:
            return image.convert("RGB")


def _on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode != "RGBA":
        return _srgb(image, profile)
    flat = Image.new("RGB", image.size, "white")
    flat.paste(_srgb(image.convert("RGB"), profile), mask=image.getchannel("A"))
    return flat


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB as an ordinary screen shows it; a profile that does not fit its picture is left out."""
    if profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


# Composing ------------------------------------------------------------------------------------------------------------

_SMALL = 8
"""The backdrop is painted at an eighth of the frame and enlarged: it holds no finer detail."""
_EDGE, _STEADY_EDGE = (1, 1), (8, 41)
"""How deep, and over how much of its length, the edge is searched for the middle colour of a place, in small pixels.
Next to the photo the edge goes on as it is; farther away letters or things that touch it have left no trace."""
_SPREADS = tuple(2.0**power for power in range(7))
"""How far around it, in small pixels, a place of the backdrop looks for its colour."""
_STEADY_FROM = 2
"""The place in these from which only steady colours are carried on, and no detail any more."""
_SPREAD_PER_DISTANCE = 0.6
_CALM_FROM = 48.0
"""The distance from the photo, in small pixels, from which the backdrop is as calm as it gets."""
_OVERLAP = 20
"""How far the photo's own pixels, mirrored at its edge, reach into the backdrop while they fade."""


def _filled(image: ImageFile, scale: float, frame_size: tuple[int, int]) -> Image.Image:
    width, height = _upright_size(image)
    covering = max(frame_size[0], round(width * scale)), max(frame_size[1], round(height * scale))
    return ImageOps.fit(_rendered(image, covering), frame_size)


def _framed(photo: Image.Image, frame_size: tuple[int, int]) -> Image.Image:
    """The photo in the middle of a backdrop that carries its edges on, without a visible seam."""
    left, top = (frame_size[0] - photo.width) // 2, (frame_size[1] - photo.height) // 2
    frame = _backdrop(photo, (left, top), frame_size)
    wider = np.pad(np.asarray(photo), ((_OVERLAP, _OVERLAP), (_OVERLAP, _OVERLAP), (0, 0)), mode="symmetric")
    frame.paste(Image.fromarray(wider), (left - _OVERLAP, top - _OVERLAP), _soft_edges(photo.size))
    return frame


def _backdrop(photo: Image.Image, corner: tuple[int, int], frame_size: tuple[int, int]) -> Image.Image:
    """The colours of the photo's edges: next to it as they are, farther away steadier, more mixed and calmer."""
    width, height = frame_size[0] // _SMALL, frame_size[1] // _SMALL
    left, top = corner[0] // _SMALL, corner[1] // _SMALL
    across, down = min(width - left, max(1, photo.width // _SMALL)), min(height - top, max(1, photo.height // _SMALL))
    small = np.asarray(photo.resize((across, down), Image.Resampling.BOX), np.float64)
    detailed, steady = (_edges(small, (left, top), corner, looked_at) for looked_at in (_EDGE, _STEADY_EDGE))

    distance = np.hypot.outer(_distance_outside(height, top, top + down), _distance_outside(width, left, left + across))
    level = np.log2(np.clip(distance * _SPREAD_PER_DISTANCE, _SPREADS[0], _SPREADS[-1]))[..., None]
    mixed = np.zeros((height, width, 3))
    for power, spread in enumerate(_SPREADS):
        edges = steady if power >= _STEADY_FROM else detailed
        summed = np.sum([_spread_out(edge, spread, (height, width)) for edge in edges], axis=0)
        share = np.clip(1.0 - np.abs(level - power), 0.0, 1.0)
        mixed += share * summed[..., :3] / np.maximum(summed[..., 3:], 1e-200)  # what has no edge near it is the photo

    part = np.clip(distance / _CALM_FROM, 0.0, 1.0)[..., None]
    grey = mixed.mean(axis=2, keepdims=True)
    calm = 0.9 * (grey + 0.85 * (mixed - grey))
    mixed += part * part * (3 - 2 * part) * (calm - mixed)
    return Image.fromarray(mixed.round().astype(np.uint8)).resize(frame_size, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class _Edge:
    """One edge of the photo on the backdrop: a row or a column, and from where on which colours lie there."""

    is_row: bool
    place: int
    start: int
    colours: Floats


def _edges(small: Floats, place: tuple[int, int], corner: tuple[int, int], looked_at: tuple[int, int]) -> list[_Edge]:
    """The edges that face the backdrop; those that lie on the frame's own do not count."""
    (left, top), (down, across) = place, small.shape[:2]
    turned = small.transpose(1, 0, 2)
    edges = []
    if corner[1] > 0:
        edges += [_Edge(True, top, left, _edge_colours(small, looked_at))]
        edges += [_Edge(True, top + down - 1, left, _edge_colours(small[::-1], looked_at))]
    if corner[0] > 0:
        edges += [_Edge(False, left, top, _edge_colours(turned, looked_at))]
        edges += [_Edge(False, left + across - 1, top, _edge_colours(turned[::-1], looked_at))]
    return edges


def _edge_colours(small: Floats, looked_at: tuple[int, int]) -> Floats:
    """The middle colour of every place along the upper edge, and its weight, which is 1."""
    depth, length = looked_at
    strip = small[:depth]
    reach = min(length, strip.shape[1]) // 2
    padded = np.pad(strip, ((0, 0), (reach, reach), (0, 0)), "symmetric")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)
    colours = np.median(around, axis=(0, 3))
    return np.concatenate([colours, np.ones((len(colours), 1))], axis=1)


def _spread_out(edge: _Edge, spread: float, size: tuple[int, int]) -> Floats:
    """What an edge gives to each place of the backdrop: its colours by their nearness, times their weight, and that."""
    height, width = size
    beside, along = (height, width) if edge.is_row else (width, height)
    ends = np.arange(edge.start, edge.start + len(edge.colours))
    mixed = _bell(np.subtract.outer(np.arange(along), ends), spread) @ edge.colours
    nearness = _bell(np.arange(beside) - edge.place, spread)
    given = nearness[:, None, None] * mixed
    return given if edge.is_row else given.transpose(1, 0, 2)


def _bell(distance: npt.NDArray[np.integer], spread: float) -> Floats:
    """How much a place counts from so far away."""
    return np.exp(-(distance**2) / (2 * spread**2))


def _distance_outside(length: int, start: int, end: int) -> Floats:
    """For each place along a side: how far it lies from the stretch between start and end."""
    place = np.arange(length, dtype=np.float64)
    return np.maximum(np.maximum(start - place, place - (end - 1)), 0.0)


def _soft_edges(size: tuple[int, int]) -> Image.Image:
    """The mask of a photo with its overlap: the photo is whole, what lies around it fades."""
    across, down = (
        np.clip(1.0 - _distance_outside(side + 2 * _OVERLAP, _OVERLAP, _OVERLAP + side) / (_OVERLAP + 1), 0.0, 1.0)
        for side in size
    )
    return Image.fromarray((255 * np.outer(down, across)).astype(np.uint8))


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    """The pixels alone: an image opened from a file still carries its comment, profile and EXIF."""
    bare = Image.new("RGB", image.size)
    bare.paste(image)
    target = io.BytesIO()
    # Full colour resolution: small red or blue lettering is what a label consists of.
    bare.save(target, "JPEG", quality=quality, subsampling=0)
    return target.getvalue()
