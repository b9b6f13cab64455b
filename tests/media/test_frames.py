"""A dozen awkward photos, composed: whole, undistorted, in their own colours, and nothing goes out but pixels."""

import io
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from media.frames import LARGEST_BYTES, SHEET, AwkwardPhoto, awkward_photos, mark_pixels, refused_photos
from neurocards.media.photos import BadPhoto, check_photo, compose_frame

WINDOW = (0, 240, 1080, 1680)
"""The central 3:4 of a frame: left, top, right, bottom."""
SEARCHED = 12
"""How far around its place a mark is looked for, in pixels of the frame."""

Grey = npt.NDArray[np.float64]


@cache
def photos() -> list[AwkwardPhoto]:
    return list(awkward_photos())


@pytest.mark.parametrize("number", range(12))
def test_an_awkward_photo_is_whole_undistorted_and_in_its_own_colours(number: int) -> None:
    awkward = photos()[number]
    width, height = awkward.size
    facts = check_photo(awkward.data)
    assert (facts.width, facts.height) == awkward.size
    made = compose_frame(awkward.data)
    with Image.open(io.BytesIO(made), formats=["JPEG"]) as frame:
        assert (frame.size, frame.mode) == ((1080, 1920), "RGB")
        assert set(frame.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        picture = frame.convert("RGB")

    fills = width * 16 == height * 9
    scale = 1920 / height if fills else min(1080 / width, 1440 / height, 2.0)
    seen = awkward.seen.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    left, top, right, bottom = where_its_marks_are(
        picture, seen, mark_pixels(awkward.seen.size) * seen.width / awkward.seen.width
    )
    across, down = (right - left) / width, (bottom - top) / height
    assert across == pytest.approx(down, rel=0.004)
    assert max(across, down) <= 2.008
    if fills:
        assert (left, top, right, bottom) == pytest.approx((0, 0, 1080, 1920), abs=1.5)
    else:
        assert left >= WINDOW[0] - 1
        assert top >= WINDOW[1] - 1
        assert right <= WINDOW[2] + 1
        assert bottom <= WINDOW[3] + 1

    shown = picture.crop((round(left), round(top), round(left) + seen.width, round(top) + seen.height))
    off = np.abs(np.asarray(shown, np.int16) - np.asarray(seen, np.int16))
    assert off.mean() < 3


def where_its_marks_are(frame: Image.Image, seen: Image.Image, side: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the photo in the frame, by its four marks, each found for itself."""
    small, whole = grey(seen), grey(frame)
    pixels = int(side)
    places = [(0, 0), (seen.width - pixels, 0), (0, seen.height - pixels), (seen.width - pixels, seen.height - pixels)]
    begin_x, begin_y = (frame.width - seen.width) // 2, (frame.height - seen.height) // 2
    found = []
    for x, y in places:
        at_x, at_y, likeness = best_match(whole, small[y : y + pixels, x : x + pixels], begin_x + x, begin_y + y)
        assert likeness > 0.95, "a mark is there, in sharp lines"
        found.append((at_x, at_y))
    (left, top), (right, upper), (lower_left, low), (lower_right, lower) = found
    assert (left, top) == (lower_left, upper)
    assert (right, low) == (lower_right, lower)
    return left, top, right + pixels, low + pixels


def best_match(whole: Grey, mark: Grey, near_x: int, near_y: int) -> tuple[int, int, float]:
    """Where the mark is most like itself around a place, and how much (1: to the pixel)."""
    height, width = mark.shape
    best = (0, 0, -1.0)
    for y in range(max(0, near_y - SEARCHED), min(whole.shape[0] - height, near_y + SEARCHED) + 1):
        for x in range(max(0, near_x - SEARCHED), min(whole.shape[1] - width, near_x + SEARCHED) + 1):
            likeness = float(np.corrcoef(whole[y : y + height, x : x + width].ravel(), mark.ravel())[0, 1])
            if likeness > best[2]:
                best = (x, y, likeness)
    return best


def grey(picture: Image.Image) -> Grey:
    return np.asarray(picture.convert("L"), np.float64)


def test_no_letter_and_no_mark_leaves_a_trace_far_from_the_photo() -> None:
    """Next to letters at its edge the paper goes on, not a smear of ink."""
    (lettered,) = [awkward for awkward in photos() if "letters" in awkward.caption]
    with Image.open(io.BytesIO(compose_frame(lettered.data))) as frame:
        beyond = np.asarray(frame.convert("L"), np.float64)[1500:, :]
    assert np.abs(np.diff(beyond, axis=1)).max() <= 4
    assert beyond.max() - beyond.min() < 50


def test_a_white_studio_stays_white() -> None:
    (cut_out,) = [
        awkward for awkward in photos() if "transparent PNG" in awkward.caption and "palette" not in awkward.caption
    ]
    with Image.open(io.BytesIO(compose_frame(cut_out.data))) as frame:
        pixels = np.asarray(frame, np.int16)
    for row in (10, 150, 300, 1600, 1900):
        assert (pixels[row].max(axis=1) - pixels[row].min(axis=1)).max() <= 4, "no tint of the product"
        assert pixels[row].min() >= 220


def test_those_that_are_refused_are_refused() -> None:
    codes = []
    for _, data in refused_photos():
        with pytest.raises(BadPhoto) as bad:
            compose_frame(data)
        codes.append(bad.value.code)
    assert codes == ["animated", "heic"]


def test_the_sheet_is_there_and_small() -> None:
    with Image.open(SHEET) as sheet:
        assert sheet.format == "PNG"
    assert SHEET.stat().st_size <= LARGEST_BYTES
