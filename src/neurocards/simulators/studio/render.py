"""Makes a real video of one picture: a slow push-in with a slight drift, 24 frames a second, and a soft ambience.

Runs in worker processes, so it imports nothing heavy beyond Pillow, numpy and PyAV. The picture is turned into
YUV planes once; each frame only resamples those with sub-pixel boxes, which is smooth and half the work of RGB.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

Look = Literal["moving", "frozen", "black"]
Planes = list[Image.Image]

FRAME_RATE = 24
SAMPLE_RATE = 48_000
AAC_SAMPLES = 1024
ZOOM_PER_SECOND = 0.014
# Between the sharp end of the push-in (1.15) and the cheapest start (1.0).
SOURCE_SCALE = 1.06
BT709 = 1
LIMITED_RANGE = 1
# The fastest preset, with the two entropy and transform tools that halve its files for a tenth more work. The cap
# keeps a noisy photo from becoming a file that Telegram would refuse.
X264_OPTIONS = {
    "preset": "ultrafast",
    "crf": "21",
    "maxrate": "8M",
    "bufsize": "16M",
    "x264-params": "cabac=1:8x8dct=1:deblock=0,0:keyint=48",
}


@dataclass(frozen=True)
class ClipSpec:
    """What the finished file must be."""

    width: int
    height: int
    seconds: float
    sound: bool = True
    look: Look = "moving"
    frame_rate: int = FRAME_RATE


def render_clip(spec: ClipSpec, picture: bytes | None, target: Path) -> None:
    """Write the clip of `picture` (None: a picture of our own) to `target`, whole or not at all."""
    planes = _planes(_fitted(picture, spec), black=spec.look == "black")
    unfinished = target.with_suffix(".part")
    with av.open(unfinished, "w", format="mp4", options={"movflags": "+faststart"}) as file:
        video = _video_stream(file, spec)
        audio = _audio_stream(file) if spec.sound else None
        sound = _ambience_frames(spec.seconds) if audio else iter(())
        rate = spec.frame_rate
        count = round(spec.seconds * rate)
        # One frame is resampled while the one before it is encoded: both leave the interpreter's lock.
        with ThreadPoolExecutor(1) as painter:
            ahead = painter.submit(_paint, planes, spec, 0, count)
            for index in range(count):
                frame = ahead.result()
                ahead = painter.submit(_paint, planes, spec, index + 1, count)
                file.mux(video.encode(frame))
                if audio and index % rate == 0:
                    _write_sound(file, audio, sound, until_seconds=index // rate + 1)
        file.mux(video.encode())
        if audio:
            _write_sound(file, audio, sound, until_seconds=spec.seconds + 1)
            file.mux(audio.encode())
    unfinished.replace(target)


def _fitted(picture: bytes | None, spec: ClipSpec) -> Image.Image:
    """The picture, upright, cut to the shape of the clip."""
    size = (_even(spec.width * SOURCE_SCALE), _even(spec.height * SOURCE_SCALE))
    if picture is None:
        return _own_picture(size)
    with Image.open(io.BytesIO(picture)) as image:
        image.draft("RGB", size)
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return ImageOps.fit(upright, size, Image.Resampling.LANCZOS)


def _own_picture(size: tuple[int, int]) -> Image.Image:
    width, height = size
    shade = np.linspace(215, 120, height, dtype=np.float32)[:, None] + np.linspace(0, 30, width, dtype=np.float32)
    image = Image.fromarray(np.stack([shade, shade * 0.93, shade * 0.84], axis=-1).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((width * 0.3, height * 0.35, width * 0.7, height * 0.7), width // 12, fill=(52, 86, 120))
    draw.ellipse((width * 0.3, height * 0.32, width * 0.7, height * 0.38), fill=(236, 226, 205))
    draw.ellipse((width * 0.38, height * 0.48, width * 0.62, height * 0.6), fill=(240, 240, 236))
    return image


def _planes(image: Image.Image, *, black: bool) -> Planes:
    """Luma and both chromas of the picture as three grey images."""
    if black:
        image = Image.new("RGB", image.size)
    rgb = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
    frame = rgb.reformat(format="yuv420p", dst_colorspace="ITU709")
    return [
        Image.fromarray(
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        )
        for plane in frame.planes
    ]


def _paint(planes: Planes, spec: ClipSpec, index: int, count: int) -> av.VideoFrame:
    left, top, share = _camera(spec, index / max(count - 1, 1))
    frame = av.VideoFrame(spec.width, spec.height, "yuv420p")
    for plane, source in zip(frame.planes, planes, strict=True):
        width, height = source.size
        box = (left * width, top * height, (left + share) * width, (top + share) * height)
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        size = (plane.width, plane.height)
        rows[:, : plane.width] = np.asarray(source.resize(size, Image.Resampling.BILINEAR, box))
    frame.pts = index
    frame.time_base = Fraction(1, spec.frame_rate)
    frame.colorspace = BT709
    frame.color_range = LIMITED_RANGE
    return frame


def _camera(spec: ClipSpec, moment: float) -> tuple[float, float, float]:
    """The left and top edge and the size of the seen part, as shares of the picture; `moment` runs from 0 to 1.

    The first frame is the whole picture. The move eases in and out, but never below two thirds of its mean speed:
    a clip that comes to rest would count as frozen.
    """
    if spec.look == "frozen":
        moment = 0.0
    moment = min(moment, 1.0)
    eased = 0.67 * moment + 0.33 * moment * moment * (3 - 2 * moment)
    share = 1 / (1 + ZOOM_PER_SECOND * spec.seconds * eased)
    room = 1 - share
    return room * (0.5 + 0.18 * eased), room * (0.5 - 0.12 * eased), share


def _video_stream(file: OutputContainer, spec: ClipSpec) -> VideoStream:
    stream = file.add_stream("libx264", rate=spec.frame_rate, options=X264_OPTIONS)
    stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
    context = stream.codec_context
    context.thread_count = 2
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709
    return stream


def _audio_stream(file: OutputContainer) -> AudioStream:
    stream = file.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", options={"aac_coder": "fast"})
    stream.bit_rate = 128_000
    return stream


def _write_sound(
    file: OutputContainer, audio: AudioStream, frames: Iterator[av.AudioFrame], *, until_seconds: float
) -> None:
    """Sound is written beside its picture, so that the file plays while it loads."""
    for frame in frames:
        file.mux(audio.encode(frame))
        if (frame.pts or 0) >= until_seconds * SAMPLE_RATE:
            return


def _ambience_frames(seconds: float) -> Iterator[av.AudioFrame]:
    samples = _ambience(seconds)
    for start in range(0, samples.shape[1], AAC_SAMPLES):
        chunk = np.ascontiguousarray(samples[:, start : start + AAC_SAMPLES])
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame


def _ambience(seconds: float) -> NDArray[np.float32]:
    """A room's soft air and a quiet, slowly swelling chord, a little different on each side."""
    count = round(seconds * SAMPLE_RATE)
    time = np.arange(count, dtype=np.float32) / SAMPLE_RATE
    noise = np.random.default_rng(7).standard_normal((2, count), dtype=np.float32)
    air = _smoothed(_smoothed(noise, 48), 24) * 0.06
    for side, detune in enumerate((0.0, 0.35)):
        for voice, pitch in enumerate((110.0, 164.8, 220.0, 277.2)):
            swell = 0.6 + 0.4 * np.sin(2 * np.pi * (0.09 + 0.02 * voice) * time + voice)
            air[side] += 0.016 * swell * np.sin(2 * np.pi * (pitch + detune) * time)
    edge = np.minimum(np.minimum(time, seconds - time) / 0.25, 1.0)
    return np.asarray(air * edge, dtype=np.float32)


def _smoothed(signal: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """A moving average, as the difference of running sums."""
    sums = np.cumsum(np.pad(signal, ((0, 0), (width, 0))), axis=1, dtype=np.float64)
    return np.asarray((sums[:, width:] - sums[:, :-width]) / np.sqrt(width), dtype=np.float32)


def _even(number: float) -> int:
    return round(number / 2) * 2
