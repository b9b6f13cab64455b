"""Sample photos for the demonstration, drawn by ourselves: a studio shot of a bottle that nobody else holds rights in.

Every thing in the picture is a solid of revolution. Each is projected exactly, as a camera a little above it sees it,
and lit by the same studio: a wide softbox on the left, a narrow one on the right, bright paper all around.
"""

import io
from dataclasses import dataclass
from math import cos, hypot, pi, radians, sin

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 1200, 1600

Field = npt.NDArray[np.floating]
"""A number, or an RGB colour from 0 to 1, for each pixel of a rectangle."""
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _Palette:
    paper: Colour
    body: Colour
    metal: Colour
    ink: Colour


_GOLD, _SILVER, _COPPER = (236, 194, 126), (220, 223, 228), (226, 162, 128)
_CREAM, _BROWN = (252, 243, 230), (84, 62, 48)
_PALETTES = (
    _Palette(paper=(240, 210, 190), body=(186, 84, 58), metal=_GOLD, ink=_CREAM),
    _Palette(paper=(212, 223, 205), body=(78, 116, 86), metal=_GOLD, ink=_CREAM),
    _Palette(paper=(202, 218, 236), body=(36, 68, 122), metal=_SILVER, ink=_CREAM),
    _Palette(paper=(226, 214, 238), body=(122, 88, 162), metal=_SILVER, ink=_CREAM),
    _Palette(paper=(222, 199, 172), body=(242, 233, 218), metal=_GOLD, ink=_BROWN),
    _Palette(paper=(218, 212, 206), body=(48, 46, 52), metal=_COPPER, ink=_CREAM),
    _Palette(paper=(194, 224, 222), body=(22, 112, 116), metal=_SILVER, ink=_CREAM),
    _Palette(paper=(244, 220, 164), body=(208, 144, 36), metal=_COPPER, ink=_CREAM),
)
VARIANTS = len(_PALETTES)


def draw_product(variant: int = 0) -> bytes:
    """A 1200x1600 JPEG of a bottle on a podium; each variant has its own colours, and they repeat."""
    palette = _PALETTES[variant % VARIANTS]
    paper, body, metal = (_as_floats(colour) for colour in (palette.paper, palette.body, palette.metal))
    scene = _Scene(paper)

    scene.shade((690, 1474), radii=(450, 66), blur=40, strength=0.5)
    podium = _solid(_drum(radius=392, height=150, bevel=9), foot=(600, 1440))
    scene.paint(podium, _matte(podium, 0.96 * paper))
    scene.shade((720, 1272), radii=(250, 30), blur=22, strength=0.38, on=podium)
    scene.shade((606, 1290), radii=(200, 36), blur=8, strength=0.62, on=podium)
    scene.shade((880, 1312), radii=(84, 14), blur=9, strength=0.5, on=podium)
    scene.shade((778, 1338), radii=(48, 9), blur=6, strength=0.5, on=podium)

    bottle = _solid(_bottle_outline(), foot=(600, 1290))
    label = _label_on(bottle)[..., None]
    scene.paint(bottle, _glossy(bottle, body * (1 - label) + _as_floats(palette.ink) * label))
    cap = _solid(_drum(radius=94, height=214, bevel=7), foot=(600, 1290 - 690 * cos(_TILT)))
    scene.paint(cap, _metallic(cap, metal))

    pearl = _solid(_ball(radius=58), foot=(866, 1316))
    scene.paint(pearl, _glossy(pearl, 0.25 * body + 0.75 * paper))
    bead = _solid(_ball(radius=33), foot=(768, 1342))
    scene.paint(bead, _metallic(bead, metal))
    return scene.developed(grain=np.random.default_rng(variant))


# The studio -----------------------------------------------------------------------------------------------------------


class _Scene:
    """The picture so far: a paper arch in soft window light, painted over from the back to the front."""

    def __init__(self, paper: Field) -> None:
        self._shadow_colour = 0.62 * paper * paper
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        glow = np.exp(-(((columns - 470) / 760) ** 2) - ((rows - 620) / 820) ** 2)
        floor = _step(1210, 1420, rows)
        light = 0.84 + 0.20 * glow + 0.10 * floor
        light += 0.05 * _window_light(rows, columns) * (1 - floor)
        self._canvas = light[..., None] * paper
        self._hang_arch()

    def paint(self, solid: "_Solid", colours: Field) -> None:
        """Lay a solid over everything painted before it."""
        below = self._canvas[solid.place]
        below += solid.coverage[..., None] * (colours - below)

    def shade(
        self, centre: tuple[int, int], *, radii: tuple[int, int], blur: int, strength: float, on: "_Solid | None" = None
    ) -> None:
        """Cast a soft elliptic shadow; `on` keeps it on the upper face of a solid."""
        shadow = _soft_shape(centre, radii, blur) * strength
        if on is not None:
            upper = np.zeros_like(shadow)
            upper[on.place] = on.coverage * _step(0.6, 0.9, on.normal[1])
            shadow *= upper
        self._darken(shadow)

    def developed(self, grain: np.random.Generator) -> bytes:
        """The picture with the grain of film, as a JPEG."""
        noise = grain.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * np.float32(0.006)
        pixels = np.clip((_film(self._canvas) + noise) * 255, 0, 255).astype(np.uint8)
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "JPEG", quality=92, subsampling=0)
        return target.getvalue()

    def _hang_arch(self) -> None:
        arch = Image.new("L", (WIDTH * 2, HEIGHT * 2))
        ImageDraw.Draw(arch).rounded_rectangle((2 * 210, 2 * 190, 2 * 990, 4 * HEIGHT), radius=780, fill=255)
        inside = _as_field(arch.resize((WIDTH, HEIGHT), Image.Resampling.BOX))
        # A niche: the edge towards the light throws its shadow inwards.
        lit = Image.fromarray((255 * np.roll(inside, (26, 30), axis=(0, 1))).astype(np.uint8))
        edge_shadow = inside * (1 - _as_field(_blurred(lit, 26)))
        fade = 1 - _step(1080, 1330, np.arange(HEIGHT, dtype=np.float32))[:, None]
        self._darken((0.16 * inside + 0.42 * edge_shadow) * fade)

    def _darken(self, amount: Field) -> None:
        self._canvas *= 1 - amount[..., None] * (1 - self._shadow_colour)


def _window_light(rows: Field, columns: Field) -> Field:
    """Two slanted panes of light on the wall."""
    across = columns + 0.55 * rows
    return _band(across, 330, 640, 26) + _band(across, 700, 1010, 26)


def _soft_shape(centre: tuple[int, int], radii: tuple[int, int], blur: int) -> Field:
    shape = Image.new("L", (WIDTH, HEIGHT))
    (x, y), (across, down) = centre, radii
    ImageDraw.Draw(shape).ellipse((x - across, y - down, x + across, y + down), fill=255)
    return _as_field(_blurred(shape, blur))


def _blurred(image: Image.Image, radius: int) -> Image.Image:
    """A wide blur, made small and enlarged again: it has no detail to lose."""
    shrink = max(1, radius // 3)
    small = image.reduce(shrink).filter(ImageFilter.GaussianBlur(radius / shrink))
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _film(light: Field) -> Field:
    """Highlights roll off instead of clipping."""
    knee = 0.82
    over = (light - knee).clip(min=0)
    return light.clip(max=knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))


# Solids ---------------------------------------------------------------------------------------------------------------

_TILT = radians(9.0)
_SUBCOLUMNS = 4
"""An outline is found exactly along a column, and for this many columns in each pixel: edges are smooth."""

Outline = npt.NDArray[np.floating]
"""Radius and height along half a cross-section, from the foot up to the axis, in steps below a pixel."""


@dataclass(frozen=True)
class _Solid:
    """What the camera sees of a solid, for each pixel of the rectangle it fills."""

    place: tuple[slice, slice]
    coverage: Field
    across: Field
    towards: Field
    height: Field
    normal: Field


def _solid(outline: Outline, foot: tuple[float, float]) -> _Solid:
    """Project the outline turned about a vertical axis that stands on the foot."""
    radius, height = outline
    reach = int(radius.max()) + 2
    lowest, highest = -reach * sin(_TILT), float(height.max()) * cos(_TILT) + reach * sin(_TILT)
    left, top, bottom = int(foot[0]) - reach, int(foot[1] - highest) - 1, int(foot[1] - lowest) + 2
    rises = (foot[1] - np.arange(top, bottom) - 0.5).astype(np.float32)

    across = (np.arange(2 * reach * _SUBCOLUMNS, dtype=np.float32) + 0.5) / _SUBCOLUMNS - reach
    inside = radius**2 - across[:, None] ** 2
    depth = np.sqrt(np.maximum(inside, 0)) * np.float32(sin(_TILT))
    lift = height * np.float32(cos(_TILT))
    low = np.where(inside >= 0, lift - depth, np.inf).min(axis=1)
    high = np.where(inside >= 0, lift + depth, -np.inf).max(axis=1)
    covered = np.clip(rises[:, None] + 0.5 - low, 0, 1) * np.clip(high - rises[:, None] + 0.5, 0, 1)
    coverage = covered.reshape(len(rises), -1, _SUBCOLUMNS).mean(axis=2)

    middle = slice(_SUBCOLUMNS // 2, None, _SUBCOLUMNS)
    seen, front = _visible_points(rises, inside[middle], lift, depth[middle])
    seen_radius = np.maximum(radius[seen], 0.5)
    x = np.broadcast_to(across[middle], seen.shape)
    z = front * np.sqrt(np.maximum(seen_radius**2 - x**2, 0))
    out, up = _outward(radius, height)
    normal = np.stack([out[seen] * np.clip(x / seen_radius, -1, 1), up[seen], out[seen] * z / seen_radius])
    place = slice(top, bottom), slice(left, left + 2 * reach)
    return _Solid(place, coverage.astype(np.float32), x, z, height[seen], normal.astype(np.float32))


def _visible_points(rises: Field, inside: Field, lift: Field, depth: Field) -> tuple[npt.NDArray[np.intp], Field]:
    """For each pixel the place on the outline that is seen there, and whether in front (1) or at the back (-1)."""
    seen = np.zeros((len(rises), len(inside)), np.intp)
    front = np.ones(seen.shape, np.float32)
    for column in range(len(inside)):
        (places,) = np.nonzero(inside[column] >= 0)
        if not len(places):
            continue
        # Up the front and down the back. A point is seen when it rises above all that came before it.
        path = np.concatenate([places, places[::-1]])
        rise = np.concatenate([(lift - depth[column])[places], (lift + depth[column])[places[::-1]]])
        start = int(rise[: len(places)].argmin())
        horizon = np.maximum.accumulate(rise[start:])
        steps = start + np.searchsorted(horizon, np.minimum(rises, horizon[-1]))
        seen[:, column] = path[steps]
        front[:, column] = np.where(steps < len(places), 1, -1)
    return seen, front


def _outward(radius: Field, height: Field) -> tuple[Field, Field]:
    """The outline's normal: its part away from the axis and its part upwards."""
    along_radius, along_height = np.gradient(radius), np.gradient(height)
    length = np.maximum(np.hypot(along_radius, along_height), 1e-6)
    return along_height / length, -along_radius / length


def _drum(*, radius: float, height: float, bevel: float) -> Outline:
    return _outline(
        [
            *_arc((radius - bevel, bevel), (bevel, bevel), from_angle=-pi / 2, to_angle=0),
            *_arc((radius - bevel, height - bevel), (bevel, bevel), from_angle=0, to_angle=pi / 2),
            (0, height),
        ]
    )


def _ball(*, radius: float) -> Outline:
    return _outline(_arc((0, radius), (radius, radius), from_angle=-pi / 2, to_angle=pi / 2))


def _bottle_outline() -> Outline:
    return _outline(
        [
            *_arc((172, 18), (18, 18), from_angle=-pi / 2, to_angle=0),
            *_arc((84, 590), (106, 104), from_angle=0, to_angle=pi / 2),
            (0, 694),
        ]
    )


def _arc(
    centre: tuple[float, float], radii: tuple[float, float], *, from_angle: float, to_angle: float
) -> list[tuple[float, float]]:
    angles = np.linspace(from_angle, to_angle, max(8, int(max(radii) * 4)))
    return [(centre[0] + radii[0] * cos(angle), centre[1] + radii[1] * sin(angle)) for angle in angles]


def _outline(corners: list[tuple[float, float]]) -> Outline:
    """The corners joined by points half a pixel apart."""
    points = np.array(corners)
    lengths = [hypot(*step) for step in np.diff(points, axis=0)]
    way = np.concatenate([[0.0], np.cumsum(lengths)])
    stops = np.arange(0.0, way[-1], 0.5)
    return np.stack([np.interp(stops, way, points[:, axis]) for axis in (0, 1)]).astype(np.float32)


# Materials ------------------------------------------------------------------------------------------------------------


def _matte(solid: _Solid, colour: Field) -> Field:
    """Like painted plaster. Where less light falls the colour grows deeper, not greyer."""
    light = _daylight(solid.normal)[..., None]
    return light * colour ** (1 + 0.9 * (1 - light).clip(min=0))


def _glossy(solid: _Solid, colour: Field) -> Field:
    """Glazed: its own colour in daylight, and the studio mirrored faintly, more so towards the outline."""
    grazing = (1 - _facing(solid.normal).clip(0, 1)) ** 4
    mirror = (0.12 + 0.42 * grazing) * _studio_mirrored(solid.normal, softness=0.10)
    foot_shadow = 0.62 + 0.38 * _step(0, 70, solid.height)
    return (_daylight(solid.normal) * foot_shadow)[..., None] * colour + (mirror * foot_shadow)[..., None]


def _metallic(solid: _Solid, colour: Field) -> Field:
    """Polished: nothing but the studio, in the metal's colour."""
    mirrored = 0.24 + 0.98 * _studio_mirrored(solid.normal, softness=0.07)
    foot_shadow = 0.7 + 0.3 * _step(0, 16, solid.height)
    tinted = (mirrored * foot_shadow)[..., None] * colour
    return tinted + (mirrored - 0.9).clip(min=0)[..., None] * 0.5


def _daylight(normal: Field) -> Field:
    """Soft light from the left and above, wrapped around; the paper throws some of it back."""
    key = -0.56 * normal[0] + 0.74 * normal[1] + 0.60 * normal[2]
    light: Field = 0.42 + 0.66 * ((key + 0.4) / 1.4).clip(0, 1) ** 1.2 + 0.10 * normal[0].clip(0, 1) ** 3
    return light


def _studio_mirrored(normal: Field, *, softness: float) -> Field:
    """How bright the studio is where a mirror with this normal shows it."""
    facing = 2 * _facing(normal)
    x, y, z = facing * normal[0], facing * normal[1] - sin(_TILT), facing * normal[2] - cos(_TILT)
    azimuth, elevation = np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))
    wide = _band(azimuth, -1.45, -0.62, softness) * _band(elevation, -0.5, 0.9, softness)
    narrow = 0.75 * _band(azimuth, 1.25, 1.55, softness) * _band(elevation, -0.5, 0.9, softness)
    paper = 0.62 * _step(1.7, 2.7, np.abs(azimuth)) + 0.5 * _step(0.5, 1.2, elevation)
    return 0.10 + wide + narrow + paper


def _facing(normal: Field) -> Field:
    """The cosine between the normal and the way to the camera."""
    cosine: Field = sin(_TILT) * normal[1] + cos(_TILT) * normal[2]
    return cosine


def _label_on(bottle: _Solid) -> Field:
    """How much ink lies on each point of the bottle."""
    scale, (width, height), (around, bottom) = 3, (420, 330), (-210, 150)
    label = _as_field(_printed_label(width, height, scale))
    column = np.arctan2(bottle.across, bottle.towards) * 190 - around
    row = height - (bottle.height - bottom)
    on_label = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    ink = label[
        np.clip(row * scale, 0, height * scale - 1).astype(np.intp),
        np.clip(column * scale, 0, width * scale - 1).astype(np.intp),
    ]
    return np.where(on_label, ink, 0).astype(np.float32)


def _printed_label(width: int, height: int, scale: int) -> Image.Image:
    label = Image.new("L", (width * scale, height * scale))
    pen = ImageDraw.Draw(label)
    middle = width * scale / 2
    _letters(pen, "NEURO", (middle, 70 * scale), size=62 * scale, spacing=15 * scale)
    pen.rectangle((middle - 26 * scale, 128 * scale, middle + 26 * scale, 130 * scale), fill=255)
    _letters(pen, "DAILY CARE SERUM", (middle, 172 * scale), size=17 * scale, spacing=5 * scale)
    _letters(pen, "50 ML", (middle, 292 * scale), size=15 * scale, spacing=4 * scale)
    return label.filter(ImageFilter.GaussianBlur(scale * 0.4))


def _letters(pen: ImageDraw.ImageDraw, text: str, centre: tuple[float, float], *, size: int, spacing: int) -> None:
    """Text with air between its letters."""
    font = ImageFont.load_default(size)
    widths = [font.getlength(letter) for letter in text]
    x = centre[0] - (sum(widths) + spacing * (len(text) - 1)) / 2
    for letter, letter_width in zip(text, widths, strict=True):
        pen.text((x, centre[1]), letter, fill=255, font=font, anchor="lm")
        x += letter_width + spacing


# Numbers --------------------------------------------------------------------------------------------------------------


def _step(start: float, end: float, value: Field) -> Field:
    """0 before the start, 1 after the end, smooth between."""
    part: Field = ((value - start) / (end - start)).clip(0, 1)
    return part * part * (3 - 2 * part)


def _band(value: Field, start: float, end: float, softness: float) -> Field:
    return _step(start - softness, start + softness, value) * (1 - _step(end - softness, end + softness, value))


def _as_floats(colour: Colour) -> Field:
    return np.array(colour, np.float32) / 255


def _as_field(image: Image.Image) -> Field:
    return np.asarray(image, np.float32) / 255
