"""Draws a dozen awkward photos, composes them, and lays the frames on one sheet, docs/pictures/frames.png.

On each frame the central 3:4 is outlined; every photo carries a mark in each of its corners.
"""

import io
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter, ImageFont

from media.clips import encoded
from neurocards.demo.samples import draw_product
from neurocards.media.photos import BadPhoto, compose_frame

SHEET = Path(__file__).parents[2] / "docs" / "pictures" / "frames.png"
LARGEST_BYTES = 1_000_000

Size = tuple[int, int]
Colour = tuple[int, int, int]
Field = npt.NDArray[np.floating]


@dataclass(frozen=True)
class AwkwardPhoto:
    """A photo as somebody may send it: what one sees on it, its size as seen upright, and its file."""

    caption: str
    seen: Image.Image
    size: Size
    data: bytes


def awkward_photos() -> Iterator[AwkwardPhoto]:
    """Twelve that can be used."""
    yield tiny()
    yield huge()
    yield panorama()
    yield tall()
    yield transparent()
    yield sideways()
    yield dark()
    yield printed()
    yield sixteen_bits()
    yield lettered()
    yield few_colours()
    yield wide_gamut()


def refused_photos() -> Iterator[tuple[str, bytes]]:
    """Captions and files of two that cannot."""
    frames = [shelf((300, 400), bottles) for bottles in (1, 2, 3)]
    yield "animated WebP", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=200)
    yield "HEIC of an iPhone", b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(100)


# The photos -----------------------------------------------------------------------------------------------------------


def tiny() -> AwkwardPhoto:
    seen = marked(product(0).resize((300, 400), Image.Resampling.LANCZOS))
    return AwkwardPhoto("just large enough: 300x400", seen, seen.size, encoded(seen, "JPEG", quality=88))


def huge() -> AwkwardPhoto:
    seen = marked(product(1))
    large = seen.resize((6120, 8160), Image.Resampling.BICUBIC)
    return AwkwardPhoto("49.9 megapixels", seen, large.size, encoded(large, "JPEG", quality=80))


def panorama() -> AwkwardPhoto:
    seen = marked(shelf((2400, 800), bottles=9))
    return AwkwardPhoto("panorama, 3:1", seen, seen.size, encoded(seen, "JPEG", quality=92))


def tall() -> AwkwardPhoto:
    seen = marked(shelf((640, 1920), bottles=1))
    return AwkwardPhoto("tall, 1:3", seen, seen.size, encoded(seen, "JPEG", quality=92))


def transparent() -> AwkwardPhoto:
    """Cut out by a designer; behind the transparent pixels there is still something, which must not be seen."""
    size = (1100, 1000)
    outline = marked(cup_outline(size))
    cup = marked(lit(size, (206, 92, 60), light=0.35))
    cut_out = Image.composite(
        cup, Image.new("RGB", size, (255, 0, 255)), outline.point(lambda value: 255 * (value > 0))
    )
    cut_out.putalpha(outline)
    seen = Image.composite(cup, Image.new("RGB", size, "white"), outline)
    return AwkwardPhoto("transparent PNG", seen, size, encoded(cut_out, "PNG"))


def sideways() -> AwkwardPhoto:
    """A phone held upright stores what it sees lying, and a note how to turn it."""
    seen = marked(product(2).crop((150, 0, 1050, 1600)).resize((1512, 2688), Image.Resampling.LANCZOS))
    note = Image.Exif()
    note[0x0112] = 6
    lying = seen.transpose(Image.Transpose.ROTATE_90)
    return AwkwardPhoto("9:16, turned by its EXIF", seen, seen.size, encoded(lying, "JPEG", quality=90, exif=note))


def dark() -> AwkwardPhoto:
    seen = marked(product(5)).point(lambda value: round(value * 0.13))
    return AwkwardPhoto("very dark", seen, seen.size, encoded(seen, "PNG"))


def printed() -> AwkwardPhoto:
    """For a printer: four inks, and a profile that says how they look on paper."""
    inks = marked(product(3)).resize((900, 1200)).convert("CMYK")
    seen = Image.fromarray(to_bytes(paper_colours(np.asarray(inks) / 255)))
    data = encoded(inks, "JPEG", quality=95, icc_profile=printers_profile())
    return AwkwardPhoto("CMYK with its profile", seen, seen.size, data)


def sixteen_bits() -> AwkwardPhoto:
    seen = marked(product(6)).convert("L")
    data = encoded(Image.fromarray(np.asarray(seen).astype(np.uint16) * 256 + 77), "PNG")
    return AwkwardPhoto("16-bit grey PNG", seen.convert("RGB"), seen.size, data)


def lettered() -> AwkwardPhoto:
    """A card with words that begin and end at its very edges."""
    width, height = size = 1200, 900
    card = Image.new("RGB", size, (250, 232, 196))
    draw = ImageDraw.Draw(card)
    ink, font = (132, 24, 40), ImageFont.load_default(118)
    draw.ellipse((420, 270, 780, 630), fill=(214, 122, 60))
    for text, place, anchor in (
        ("ORGANIC HONEY", (width // 2, 0), "mt"),
        ("500 g / NEW CROP", (width // 2, height), "mb"),
        ("-30%", (0, height // 2), "lm"),
        ("GIFT", (width, height // 2), "rm"),
    ):
        left, top, right, bottom = draw.textbbox(place, text, font, anchor)
        inside = (max(0, -left) - max(0, right - width), max(0, -top) - max(0, bottom - height))
        draw.text((place[0] + inside[0], place[1] + inside[1]), text, ink, font, anchor)
    seen = marked(card)
    return AwkwardPhoto("letters at the edges", seen, size, encoded(seen, "JPEG", quality=92))


def few_colours() -> AwkwardPhoto:
    """A sticker: a palette, one colour of which is transparent."""
    size = (800, 800)
    seen = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(seen)
    draw.regular_polygon((400, 400, 330), 8, fill=(36, 110, 84))
    draw.ellipse((200, 200, 600, 600), fill=(250, 204, 70))
    draw.text((400, 400), "ECO", (36, 110, 84), ImageFont.load_default(160), "mm")
    palette = Image.new("P", (1, 1))
    palette.putpalette([255, 0, 255, 36, 110, 84, 250, 204, 70, 0, 0, 0, 254, 254, 254])
    marks = mark_mask(size)
    drawn = seen.quantize(palette=palette, dither=Image.Dither.NONE)
    background = np.asarray(ImageChops.difference(seen, Image.new("RGB", size, "white")).convert("L")) == 0
    indices = np.where(background & ~marks, 0, np.asarray(drawn))
    seen = marked(seen)
    indices[marks] = np.where(np.asarray(seen.convert("L"))[marks] < 128, 3, 4)
    flat = Image.fromarray(indices.astype(np.uint8)).convert("P")
    flat.putpalette(palette.getpalette() or [])
    return AwkwardPhoto("palette PNG, transparent", seen, size, encoded(flat, "PNG", transparency=0))


def wide_gamut() -> AwkwardPhoto:
    """Colours as a phone's screen has them, more than sRGB can say."""
    stored = marked(product(7)).resize((900, 1200))
    linear = from_srgb(np.asarray(stored) / 255) @ _P3_TO_XYZ.T @ np.linalg.inv(_SRGB_TO_XYZ).T
    seen = Image.fromarray(to_bytes(to_srgb(linear)))
    data = encoded(stored, "JPEG", quality=95, icc_profile=p3_profile())
    return AwkwardPhoto("Display P3", seen, seen.size, data)


# Drawing --------------------------------------------------------------------------------------------------------------

MARK = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 1, 1], [0, 1, 1, 0, 1]])
"""Looks like itself only when it is neither turned nor mirrored nor moved."""


def mark_pixels(size: Size) -> int:
    """The side of a mark on a photo of this size."""
    return max(30, min(size) // 14 // 5 * 5)


def mark_places(size: Size) -> list[Size]:
    """The upper left corners of the four marks, which lie in the photo's very corners."""
    far_x, far_y = size[0] - mark_pixels(size), size[1] - mark_pixels(size)
    return [(0, 0), (far_x, 0), (0, far_y), (far_x, far_y)]


def marked(picture: Image.Image) -> Image.Image:
    """The picture with a mark in each corner."""
    side = mark_pixels(picture.size)
    mark = Image.fromarray((255 * MARK).astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
    if picture.mode == "L":  # an outline: the marks belong to what it keeps
        mark = Image.new("L", mark.size, 255)
    with_marks = picture.copy()
    for place in mark_places(picture.size):
        with_marks.paste(mark.convert(picture.mode), place)
    return with_marks


def mark_mask(size: Size) -> npt.NDArray[np.bool_]:
    """Where the marks are."""
    return np.asarray(marked(Image.new("L", size))) > 0


def product(variant: int) -> Image.Image:
    """One of the sample photos, 1200x1600."""
    with Image.open(io.BytesIO(draw_product(variant))) as picture:
        return picture.convert("RGB")


def lit(size: Size, colour: Colour, *, light: float) -> Image.Image:
    """A round thing of this colour with its light at a place between left (0) and right (1)."""
    across = np.linspace(0, 1, size[0])
    strength = 0.45 + 0.75 * np.exp(-(((across - light) / 0.28) ** 2))
    row = np.clip(np.array(colour)[None, :] * strength[:, None], 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(row[None], size[1], axis=0))


def cup_outline(size: Size) -> Image.Image:
    """The shape of a cup: soft at its edge, empty around it and inside the handle."""
    outline = Image.new("L", (size[0] * 2, size[1] * 2))
    draw = ImageDraw.Draw(outline)
    draw.ellipse((1240, 560, 1900, 1360), fill=255)
    draw.ellipse((1400, 720, 1740, 1200), fill=0)
    draw.rounded_rectangle((380, 300, 1500, 1760), 240, fill=255)
    return outline.filter(ImageFilter.GaussianBlur(2)).resize(size, Image.Resampling.LANCZOS)


def shelf(size: Size, bottles: int) -> Image.Image:
    """Bottles in a row before a wall, on a board."""
    width, height = size
    down, across = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    wall = np.array([224, 214, 200]) * (1.05 - 0.25 * down) * (1.0 - 0.18 * across)
    board = np.array([150, 108, 74]) * (1.15 - 0.3 * down) * (1.0 - 0.12 * across)
    picture = Image.fromarray(np.where(down < 0.84, wall, board).clip(0, 255).astype(np.uint8))
    pitch = width / bottles
    for number in range(bottles):
        body_width = round(pitch * 0.62)
        body_height = round(height * (0.58, 0.46, 0.52)[number % 3])
        colour = ((58, 120, 116), (196, 96, 70), (88, 84, 148), (190, 150, 60))[number % 4]
        left, foot = round(pitch * (number + 0.5) - body_width / 2), round(height * 0.88)
        for part, colour_of_part, (x, y, part_width, part_height) in (
            ("body", colour, (0.0, 0.0, 1.0, 1.0)),
            ("cap", (230, 226, 218), (0.3, 1.0, 0.4, 0.2)),
            ("label", (246, 240, 228), (0.0, 0.25, 1.0, 0.32)),
        ):
            box = max(1, round(body_width * part_width)), max(1, round(body_height * part_height))
            place = left + round(body_width * x), foot - round(body_height * y) - box[1]
            shape = Image.new("L", box)
            radius = 0 if part == "label" else round(min(box) * 0.14)
            ImageDraw.Draw(shape).rounded_rectangle((0, 0, box[0] - 1, box[1] - 1), radius, fill=255)
            picture.paste(lit(box, colour_of_part, light=0.34), place, shape)
    return picture


# Colours --------------------------------------------------------------------------------------------------------------

_SRGB_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
_P3_TO_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
"""Primaries as ICC profiles have them: seen in the light of D50."""
_D50 = np.array([0.9642, 1.0, 0.8249])
_INKS = np.array([[0, 158, 224], [229, 0, 125], [255, 236, 0], [38, 36, 34]]) / 255


def from_srgb(values: Field) -> Field:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Field) -> Field:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def to_bytes(values: Field) -> npt.NDArray[np.uint8]:
    return np.round(255 * values).astype(np.uint8)


def paper_colours(inks: Field) -> Field:
    """How four inks, from 0 to 1, look on paper: each lets through its own colour of the light."""
    passed = 1 - inks[..., None] * (1 - from_srgb(_INKS))
    return to_srgb(passed.prod(axis=-2))


def printers_profile() -> bytes:
    """An ICC profile that says of all mixtures of the inks what `paper_colours` says."""
    steps = 13
    mixtures = np.stack(np.meshgrid(*[np.linspace(0, 1, steps)] * 4, indexing="ij"), axis=-1)
    relative = from_srgb(paper_colours(mixtures)) @ _SRGB_TO_XYZ.T / _D50
    root = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    lab = np.stack(
        [116 * root[..., 1] - 16, 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])], axis=-1
    )
    stored = np.round((lab + np.array([0, 128, 128])) * np.array([2.55, 1, 1])).clip(0, 255).astype(np.uint8)
    as_it_is = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table = b"mft1" + bytes(4) + bytes([4, 3, steps, 0]) + identity + as_it_is * 4 + stored.tobytes() + as_it_is * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * part) for part in _D50))
    tags = {b"wtpt": white, b"A2B0": table}
    place, entries, contents = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        entries += name + struct.pack(">II", place + len(contents), len(content))
        contents += padded
    header = struct.pack(">I4xI4s4s4s12x4s", place + len(contents), 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    light = struct.pack(">28x3i", *(round(65536 * part) for part in _D50))
    return (header + light).ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + contents


def p3_profile() -> bytes:
    """The profile of sRGB with other primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(profile[131]):
        name, place, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            primary = _P3_TO_XYZ[:, b"rgb".index(name[:1])]
            struct.pack_into(">3i", profile, place + 8, *(round(65536 * part) for part in primary))
    return bytes(profile)


# The sheet ------------------------------------------------------------------------------------------------------------

TILE = (216, 384)
WINDOW = (0, 48, 215, 335)
"""The central 3:4 of a tile."""
COLUMNS = 7
GAP = 20
CAPTION = 34


def sheet() -> Image.Image:
    """All frames, and what is said of those photos that get none."""
    tiles = [(awkward.caption, tile(compose_frame(awkward.data))) for awkward in awkward_photos()]
    tiles += [(caption, refusal(data)) for caption, data in refused_photos()]
    rows = -(-len(tiles) // COLUMNS)
    across, down = TILE[0] + GAP, TILE[1] + CAPTION + GAP
    paper = Image.new("RGB", (GAP + across * COLUMNS, GAP + down * rows), (244, 244, 242))
    draw = ImageDraw.Draw(paper)
    for number, (caption, picture) in enumerate(tiles):
        left, top = GAP + across * (number % COLUMNS), GAP + down * (number // COLUMNS)
        paper.paste(picture, (left, top))
        draw.text((left + TILE[0] // 2, top + TILE[1] + 8), caption, (40, 40, 40), ImageFont.load_default(16), "mt")
    return paper


def tile(frame: bytes) -> Image.Image:
    """A frame, small, with its central 3:4 in dashes."""
    with Image.open(io.BytesIO(frame)) as picture:
        small = picture.convert("RGB").resize(TILE, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    left, top, right, bottom = WINDOW
    for start in range(0, right, 12):
        for edge in (top, bottom):
            draw.line((start, edge, start + 5, edge), (0, 0, 0))
            draw.line((start + 6, edge, start + 11, edge), (255, 255, 255))
    for start in range(top, bottom, 12):
        for edge in (left, right):
            draw.line((edge, start, edge, start + 5), (0, 0, 0))
            draw.line((edge, start + 6, edge, start + 11), (255, 255, 255))
    return small


def refusal(data: bytes) -> Image.Image:
    """An empty tile that names the fault."""
    try:
        compose_frame(data)
    except BadPhoto as bad:
        empty = Image.new("RGB", TILE, (226, 226, 224))
        text = f"refused:\n{bad.code}"
        ImageDraw.Draw(empty).multiline_text(
            (TILE[0] // 2, TILE[1] // 2), text, (150, 30, 30), ImageFont.load_default(22), "mm", align="center"
        )
        return empty
    raise AssertionError("this photo should be refused")


def main() -> int:
    """Draw the sheet anew."""
    out = io.BytesIO()
    whole = sheet()
    palette = whole.quantize(256, kmeans=1)
    whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(out, "PNG", optimize=True)
    SHEET.write_bytes(out.getvalue())
    sys.stdout.write(f"{SHEET.name}: {whole.width}x{whole.height}, {out.tell()} bytes\n")
    return 0 if out.tell() <= LARGEST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
