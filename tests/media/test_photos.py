"""Photos: what is accepted, what is refused with which code, and what the frame made of them shows."""

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from media.clips import BLUE, GREEN, QUADRANTS, RED, WHITE, chessboard, encoded, quadrants, texture
from neurocards.demo.samples import VARIANTS, draw_product
from neurocards.media.photos import (
    MAX_PHOTO_BYTES,
    BadPhoto,
    PhotoFacts,
    PhotoFault,
    check_photo,
    compose_frame,
    preview,
)

SECRET = b"51.5007-0.1246"


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def animated(format_name: str) -> bytes:
    frames = [Image.new("RGB", (400, 400), colour) for colour in (RED, BLUE)]
    return encoded(frames[0], format_name, save_all=True, append_images=frames[1:], duration=100)


def many_scans(count: int) -> bytes:
    progressive = encoded(texture(320, 320).convert("L"), "JPEG", progressive=True)
    last_scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    return progressive[:-2] + last_scan * count + progressive[-2:]


def sixteen_bit_grey() -> Image.Image:
    ramp = np.linspace(0, 65535, 400).astype(np.uint16)
    return Image.fromarray(np.tile(ramp, (400, 1)))


def with_orientation(upright: Image.Image, orientation: int) -> bytes:
    """The picture as a camera held that way stores it: EXIF names the sides that row 0 and column 0 show."""
    pixels = np.asarray(upright)
    turned = pixels.transpose(1, 0, 2)
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: turned,
        6: turned[::-1],
        7: turned[::-1, ::-1],
        8: turned[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", quality=95, exif=exif)


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    image.load()
    assert image.mode == "RGB"
    return image


def assert_colour(image: Image.Image, at: tuple[float, float], colour: tuple[int, ...], tolerance: int = 12) -> None:
    found = image.getpixel((round(at[0]), round(at[1])))
    assert isinstance(found, tuple)
    assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) <= tolerance, (at, found, colour)


def assert_quadrants(frame: Image.Image, photo_size: tuple[float, float], inset: float = 30) -> None:
    """The quadrants lie in the middle of the frame at exactly that size, whole."""
    half_x, half_y = photo_size[0] / 2 - inset, photo_size[1] / 2 - inset
    middle_x, middle_y = frame.width / 2, frame.height / 2
    corners = [(-half_x, -half_y), (half_x, -half_y), (-half_x, half_y), (half_x, half_y)]
    near = [(-inset, -inset), (inset, -inset), (-inset, inset), (inset, inset)]
    for places in (corners, near):
        for (x, y), colour in zip(places, QUADRANTS, strict=True):
            assert_colour(frame, (middle_x + x, middle_y + y), colour)


# What is accepted -----------------------------------------------------------------------------------------------------

GOOD = {
    "jpeg portrait": (encoded(texture(600, 800), "JPEG"), (600, 800, "JPEG")),
    "jpeg landscape": (encoded(texture(900, 600), "JPEG"), (900, 600, "JPEG")),
    "jpeg square": (encoded(texture(500, 500), "JPEG", progressive=True), (500, 500, "JPEG")),
    "jpeg grey": (encoded(texture(500, 500).convert("L"), "JPEG"), (500, 500, "JPEG")),
    "jpeg cmyk": (encoded(texture(500, 500).convert("CMYK"), "JPEG"), (500, 500, "JPEG")),
    "jpeg sideways": (with_orientation(texture(400, 700), 6), (400, 700, "JPEG")),
    "jpeg with a second picture": (
        encoded(texture(500, 600), "MPO", save_all=True, append_images=[texture(400, 400)]),
        (500, 600, "JPEG"),
    ),
    "jpeg with something behind it": (encoded(texture(500, 500), "JPEG") + os.urandom(99), (500, 500, "JPEG")),
    "png": (encoded(texture(600, 800), "PNG"), (600, 800, "PNG")),
    "png alpha": (encoded(texture(600, 800).convert("RGBA"), "PNG"), (600, 800, "PNG")),
    "png grey alpha": (encoded(texture(600, 800).convert("LA"), "PNG"), (600, 800, "PNG")),
    "png palette": (encoded(texture(600, 800).quantize(32), "PNG"), (600, 800, "PNG")),
    "png 16 bit": (encoded(sixteen_bit_grey(), "PNG"), (400, 400, "PNG")),
    "png bits": (encoded(texture(600, 800).convert("1"), "PNG"), (600, 800, "PNG")),
    "webp": (encoded(texture(600, 800), "WEBP"), (600, 800, "WEBP")),
    "webp lossless alpha": (encoded(texture(600, 800).convert("RGBA"), "WEBP", lossless=True), (600, 800, "WEBP")),
    "smallest": (encoded(texture(300, 300), "JPEG"), (300, 300, "JPEG")),
    "longest": (encoded(texture(900, 300), "JPEG"), (900, 300, "JPEG")),
}


@pytest.mark.parametrize(("data", "facts"), GOOD.values(), ids=GOOD.keys())
def test_a_good_photo_is_described_and_composed(data: bytes, facts: tuple[int, int, str]) -> None:
    assert check_photo(data) == PhotoFacts(*facts, size_bytes=len(data))
    assert opened(compose_frame(data)).size == (1080, 1920)


# What is refused ------------------------------------------------------------------------------------------------------

_JPEG = encoded(texture(400, 400), "JPEG")
_PNG = encoded(texture(400, 400), "PNG")
_WEBP = encoded(texture(400, 400), "WEBP")

BAD = {
    "nothing": (b"", PhotoFault.EMPTY),
    "text": (b"a photo of my mug, I promise", PhotoFault.NOT_AN_IMAGE),
    "html": (b"<!doctype html><html><svg></svg></html>", PhotoFault.NOT_AN_IMAGE),
    "pdf": (b"%PDF-1.7\n" + bytes(1000), PhotoFault.NOT_AN_IMAGE),
    "video": (b"\0\0\0\x18ftypmp42" + bytes(1000), PhotoFault.NOT_AN_IMAGE),
    "zeros": (bytes(5000), PhotoFault.NOT_AN_IMAGE),
    "jpeg cut": (_JPEG[: len(_JPEG) * 2 // 3], PhotoFault.TRUNCATED),
    "jpeg cut in its header": (_JPEG[:100], PhotoFault.TRUNCATED),
    "png cut": (_PNG[: len(_PNG) * 2 // 3], PhotoFault.TRUNCATED),
    "png cut in its header": (_PNG[:20], PhotoFault.TRUNCATED),
    "webp cut": (_WEBP[: len(_WEBP) * 2 // 3], PhotoFault.TRUNCATED),
    "gif": (animated("GIF"), PhotoFault.ANIMATED),
    "gif of one frame": (encoded(texture(400, 400), "GIF"), PhotoFault.ANIMATED),
    "animated png": (animated("PNG"), PhotoFault.ANIMATED),
    "animated webp": (animated("WEBP"), PhotoFault.ANIMATED),
    "heic": (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(100), PhotoFault.HEIC),
    "heif": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic" + bytes(100), PhotoFault.HEIC),
    "avif": (encoded(texture(400, 400), "AVIF"), PhotoFault.HEIC),
    "canon raw": (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(100), PhotoFault.UNSUPPORTED),
    "tiff": (encoded(texture(400, 400), "TIFF"), PhotoFault.UNSUPPORTED),
    "bmp": (encoded(texture(400, 400), "BMP"), PhotoFault.UNSUPPORTED),
    "ico": (encoded(texture(400, 400), "ICO"), PhotoFault.UNSUPPORTED),
    "jpeg 2000": (encoded(texture(400, 400), "JPEG2000"), PhotoFault.UNSUPPORTED),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', PhotoFault.UNSUPPORTED),
    "bare svg": (b"\n  <SVG width='900' height='900'></SVG>", PhotoFault.UNSUPPORTED),
    "too many scans": (many_scans(80), PhotoFault.UNSUPPORTED),
    "too many bytes": (_JPEG + bytes(MAX_PHOTO_BYTES), PhotoFault.TOO_MANY_BYTES),
    "png of 26 megapixels": (png_header(5_200, 5_000), PhotoFault.TOO_MANY_PIXELS),
    "webp of 17 megapixels": (encoded(Image.new("L", (4_250, 4_000)), "WEBP", method=0), PhotoFault.TOO_MANY_PIXELS),
    "jpeg of 51 megapixels": (encoded(Image.new("L", (10_200, 5_000)), "JPEG"), PhotoFault.TOO_MANY_PIXELS),
    "100 megapixels": (png_header(10_000, 10_000), PhotoFault.TOO_MANY_PIXELS),
    "4 gigapixels": (png_header(65_000, 65_000), PhotoFault.TOO_MANY_PIXELS),
    "too small": (encoded(texture(299, 800), "JPEG"), PhotoFault.TOO_SMALL),
    "one pixel": (encoded(texture(1, 1), "PNG"), PhotoFault.TOO_SMALL),
    "a strip": (encoded(texture(400, 1201), "JPEG"), PhotoFault.TOO_LONG),
    "a lying strip": (encoded(texture(1201, 400), "WEBP"), PhotoFault.TOO_LONG),
}


@pytest.mark.parametrize(("data", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_photo_is_refused_with_its_code(data: bytes, code: PhotoFault) -> None:
    for work in (check_photo, compose_frame, preview):
        with pytest.raises(BadPhoto) as refused:
            work(data)
        assert refused.value.code is code


def test_t05_a_bomb_is_refused_by_its_header_in_little_memory() -> None:
    """A sound PNG of 100 megapixels: decoding it would take 100 MB at least."""
    bomb = encoded(Image.new("1", (10_000, 10_000)), "PNG", compress_level=1)
    told, seconds, megabytes = worked_on_alone("check_photo", bomb)
    assert told == "too_many_pixels"
    assert seconds < 0.5
    assert megabytes < 20


HUNGRY = ("jpeg", "progressive jpeg", "png", "png palette", "webp")


@cache
def hungry(kind: str) -> bytes:
    """The largest photo of a kind that is admitted, in a file of a few kilobytes."""
    match kind:
        case "jpeg":
            return encoded(Image.new("RGB", (7_071, 7_071)), "JPEG")
        case "progressive jpeg":
            return encoded(Image.new("RGB", (7_071, 7_071)), "JPEG", progressive=True)
        case "png":
            return encoded(Image.new("RGBA", (5_000, 5_000)), "PNG")
        case "png palette":
            return encoded(Image.new("P", (5_000, 5_000)), "PNG", transparency=0)
        case _:
            return encoded(Image.new("RGBA", (4_000, 4_000)), "WEBP", method=0)


@pytest.mark.parametrize("work", ["check_photo", "compose_frame", "preview"])
@pytest.mark.parametrize("kind", HUNGRY)
def test_t05_whatever_is_admitted_takes_bounded_memory(kind: str, work: str) -> None:
    told, _, megabytes = worked_on_alone(work, hungry(kind))
    assert told == "done"
    assert megabytes < 300


def worked_on_alone(work: str, data: bytes) -> tuple[str, float, float]:
    """What a program of its own says of the photo, in how many seconds of work and with how many megabytes more."""
    script = (
        "import re, sys, time\n"
        "from pathlib import Path\n"
        "from neurocards.media import photos\n"
        "def peak_megabytes():\n"  # of this program alone; getrusage begins with that of its parent
        "    return int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "data = sys.stdin.buffer.read()\n"
        "before, began = peak_megabytes(), time.process_time()\n"
        "told = 'done'\n"
        f"try:\n    photos.{work}(data)\n"
        "except photos.BadPhoto as bad:\n    told = bad.code\n"
        "print(told, time.process_time() - began, peak_megabytes() - before)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True, env=environment)
    told, seconds, megabytes = ran.stdout.decode().split()
    return told, float(seconds), float(megabytes)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow, about the EXIF
def test_t05_damaged_photos_never_raise_anything_else() -> None:
    dice = np.random.default_rng(20)
    for whole in (_JPEG, encoded(texture(320, 320), "JPEG", progressive=True), with_orientation(texture(320, 320), 6)):
        _damage(whole, dice)
    for whole in (_PNG, encoded(texture(320, 320).quantize(9), "PNG"), _WEBP):
        _damage(whole, dice)


def _damage(whole: bytes, dice: np.random.Generator) -> None:
    for _ in range(60):
        data = bytearray(whole)
        for place in dice.integers(0, min(len(data), dice.choice([64, 700, len(data)])), dice.integers(1, 8)):
            data[place] = dice.integers(0, 256)
        try:
            check_photo(bytes(data))
            preview(bytes(data))
        except BadPhoto:
            continue


# What the frame shows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_brought_upright(orientation: int) -> None:
    data = with_orientation(quadrants(600, 800), orientation)
    assert (check_photo(data).width, check_photo(data).height) == (600, 800)
    assert_quadrants(opened(compose_frame(data)), (1080, 1440))
    small = opened(preview(data))
    assert small.size == (576, 768)
    assert_quadrants(small, small.size)


@pytest.mark.parametrize(
    ("size", "placed"),
    [
        ((1200, 1600), (1080, 1440)),  # 3:4, the window itself
        ((1000, 1000), (1080, 1080)),
        ((1600, 900), (1080, 607.5)),
        ((800, 1600), (720, 1440)),
        ((400, 1200), (480, 1440)),
        ((300, 400), (600, 800)),  # twice its size, no more
        ((3000, 1000), (1080, 360)),
    ],
)
def test_a_photo_is_whole_undistorted_and_inside_the_central_window(
    size: tuple[int, int], placed: tuple[float, float]
) -> None:
    frame = opened(compose_frame(encoded(quadrants(*size), "PNG")))
    assert_quadrants(frame, placed)
    board = np.asarray(opened(compose_frame(encoded(chessboard(*size), "PNG"))).convert("L"))
    middles = (np.arange(8) + 0.5) / 8 - 0.5
    rows, columns = (960 + middles * placed[1]).astype(int), (540 + middles * placed[0]).astype(int)
    expected = np.asarray(chessboard(8, 8)) > 127
    assert np.array_equal(board[np.ix_(rows, columns)] > 127, expected)
    edge = 0.4 / 8  # nearly at the border of a field: a picture of another size shows the next one there
    rows, columns = (960 + (middles + edge) * placed[1]).astype(int), (540 + (middles + edge) * placed[0]).astype(int)
    assert np.array_equal(board[np.ix_(rows[:7], columns[:7])] > 127, expected[:7, :7])


@pytest.mark.parametrize("size", [(1080, 1920), (720, 1280), (1000, 1740), (1000, 1820), (300, 533)])
def test_a_photo_of_nearly_the_frames_shape_fills_it(size: tuple[int, int]) -> None:
    assert_quadrants(opened(compose_frame(encoded(quadrants(*size), "PNG"))), (1080, 1920))


def test_the_frame_can_have_another_size() -> None:
    frame = opened(compose_frame(encoded(quadrants(1000, 1000), "PNG"), width=720, height=1280))
    assert frame.size == (720, 1280)
    assert_quadrants(frame, (720, 720))


def test_the_backdrop_carries_the_studio_on_without_a_seam() -> None:
    studio = Image.new("RGB", (1000, 1000), (236, 228, 218))
    studio.paste((60, 40, 120), (400, 250, 600, 900))
    column = np.asarray(opened(compose_frame(encoded(studio, "PNG"))).convert("L"), np.int16)[:, 40]
    assert np.abs(np.diff(column)).max() <= 3, "no step anywhere from top to bottom"
    assert column[960] - column[0] in range(5, 60), "and it is a little darker far from the photo"


def test_transparent_pixels_become_white() -> None:
    product = Image.new("RGBA", (800, 800), (*RED, 0))
    product.paste((*BLUE, 255), (300, 300, 500, 500))
    for format_name in ("PNG", "WEBP"):
        frame = opened(compose_frame(encoded(product, format_name, lossless=True)))
        assert_colour(frame, (540, 960), BLUE)
        assert_colour(frame, (200, 700), (255, 255, 255))


def test_palette_transparency_becomes_white() -> None:
    product = quadrants(600, 600).quantize(4)
    red = product.getpixel((10, 10))
    frame = opened(compose_frame(encoded(product, "PNG", transparency=red)))
    assert_colour(frame, (270, 690), (255, 255, 255))
    assert_colour(frame, (810, 690), GREEN)


def test_sixteen_bits_keep_their_tones() -> None:
    frame = opened(compose_frame(encoded(sixteen_bit_grey(), "PNG")))
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        level = round(255 * part)
        assert_colour(frame, (540 + 800 * (part - 0.5), 960), (level, level, level), tolerance=6)


def test_cmyk_keeps_its_colours() -> None:
    data = encoded(quadrants(600, 800).convert("CMYK"), "JPEG", quality=95)
    assert_quadrants(opened(compose_frame(data)), (1080, 1440))


def test_a_colour_profile_is_applied() -> None:
    """A profile that swaps red and blue: who ignores it shows the wrong product."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = (srgb.index(tag, 128) for tag in (b"rXYZ", b"bXYZ"))
    srgb[red : red + 4], srgb[blue : blue + 4] = srgb[blue : blue + 4], srgb[red : red + 4]
    image = Image.new("RGB", (600, 800), (220, 30, 30))
    for format_name in ("JPEG", "PNG", "WEBP"):
        frame = opened(compose_frame(encoded(image, format_name, icc_profile=bytes(srgb))))
        assert_colour(frame, (540, 960), (30, 30, 220), tolerance=20)


@pytest.mark.parametrize("profile", [b"nonsense", b""])
def test_a_broken_or_foreign_colour_profile_is_left_out(profile: bytes) -> None:
    data = encoded(Image.new("RGB", (600, 800), GREEN), "PNG", icc_profile=profile)
    assert_colour(opened(compose_frame(data)), (540, 960), GREEN)
    rgb_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = encoded(Image.new("L", (600, 800), 99), "JPEG", icc_profile=rgb_profile)
    assert_colour(opened(compose_frame(grey)), (540, 960), (99, 99, 99))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow, about the EXIF
def test_broken_exif_costs_the_orientation_and_not_the_photo() -> None:
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        data = encoded(quadrants(600, 800), "JPEG", quality=95, exif=exif)
        assert_quadrants(opened(compose_frame(data)), (1080, 1440))


def test_t06_nothing_but_pixels_goes_out() -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 2.5)
    tail = b"PK\x03\x04<script>" + SECRET
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    for size in ((600, 800), (720, 1280)):
        image = quadrants(*size)
        for data in (
            encoded(image, "JPEG", exif=exif, comment=SECRET, xmp=b"<x>" + SECRET + b"</x>") + tail,
            encoded(image, "PNG", exif=exif, pnginfo=text) + tail,
            encoded(image, "WEBP", exif=exif, xmp=SECRET) + tail,
        ):
            assert SECRET in data
            for made in (compose_frame(data), preview(data)):
                assert SECRET not in made
                assert b"<script>" not in made
                assert b"Exif" not in made
                assert set(opened(made).info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
                assert made.endswith(b"\xff\xd9")


def test_preview_is_small_and_never_enlarged() -> None:
    assert opened(preview(encoded(texture(2400, 1600), "JPEG"))).size == (768, 512)
    assert opened(preview(encoded(texture(2400, 1600), "JPEG"), longest=300)).size == (300, 200)
    assert opened(preview(encoded(texture(400, 320), "PNG"))).size == (400, 320)


def test_the_sample_photos_are_good_photos_in_colours_of_their_own() -> None:
    drawn = [draw_product(variant) for variant in range(3)]
    for photo in drawn:
        assert check_photo(photo) == PhotoFacts(1200, 1600, "JPEG", len(photo))
        assert "exif" not in opened(photo).info
    colours = np.stack([np.asarray(opened(photo), np.int16)[600:1300, 430:780].mean(axis=(0, 1)) for photo in drawn])
    assert all(np.abs(one - other).max() > 25 for one, other in combinations(colours, 2))
    assert VARIANTS >= 6
    assert draw_product(1) == drawn[1]


def test_many_threads_agree() -> None:
    data = encoded(quadrants(800, 800), "JPEG", quality=95)
    frames: list[bytes] = []
    threads = [threading.Thread(target=lambda: frames.append(compose_frame(data))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(frames) == 4
    assert len(set(frames)) == 1
    assert_quadrants(opened(frames[0]), (1080, 1080))


def test_the_colours_of_the_quadrants_differ() -> None:
    """The helper itself: a turned picture must not look like an upright one."""
    assert len({RED, GREEN, BLUE, WHITE}) == 4
    with pytest.raises(AssertionError):
        assert_quadrants(quadrants(600, 800).transpose(Image.Transpose.ROTATE_180), (600, 800))
