"""Small pictures and clips for tests, made with the same libraries but none of our code."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image

RED, GREEN, BLUE, WHITE = (205, 45, 45), (40, 160, 70), (45, 70, 200), (245, 245, 245)
QUADRANTS = (RED, GREEN, BLUE, WHITE)
"""Top left, top right, bottom left, bottom right."""

CLIP_SIZE = (180, 320)
RATE = 15


def quadrants(width: int, height: int) -> Image.Image:
    """A picture that shows how it is turned, mirrored or cut."""
    small = Image.new("RGB", (2, 2))
    small.putdata(QUADRANTS)
    return small.resize((width, height), Image.Resampling.NEAREST)


def chessboard(width: int, height: int) -> Image.Image:
    """Eight by eight fields, the first one dark: shows how large a picture is."""
    fields = np.indices((8, 8)).sum(axis=0) % 2 * 255
    return Image.fromarray(fields.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)


def texture(width: int, height: int, *, seed: int = 7) -> Image.Image:
    """Soft coloured blobs, like a photo out of focus."""
    coarse = np.random.default_rng(seed).integers(30, 226, (12, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    """The picture as a file's bytes."""
    target = io.BytesIO()
    image.save(target, format_name, **options)
    return target.getvalue()


def zoom(seconds: float, *, by: float, size: tuple[int, int] = CLIP_SIZE) -> Iterator[Image.Image]:
    """A camera that slowly comes nearer: from the whole picture to 1 + `by` times its size."""
    width, height = 2 * size[0], 2 * size[1]
    scene = texture(width, height)
    count = round(seconds * RATE)
    for number in range(count):
        scale = 1 + by * number / count
        cut_x, cut_y = (width - width / scale) / 2, (height - height / scale) / 2
        yield scene.resize(size, Image.Resampling.BICUBIC, box=(cut_x, cut_y, width - cut_x, height - cut_y))


def still(seconds: float, colour: tuple[int, int, int] | None = None) -> Iterator[Image.Image]:
    """The same picture again and again; a plain one if a colour is given."""
    image = texture(*CLIP_SIZE) if colour is None else Image.new("RGB", CLIP_SIZE, colour)
    for _ in range(round(seconds * RATE)):
        yield image


def write_clip(
    path: Path,
    frames: Iterable[Image.Image],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str | None = None,
    index_first: bool = False,
    tagged: bool = True,
    options: dict[str, str] | None = None,
) -> Path:
    """An MP4 of the frames in BT.709, which the file says if `tagged`; `sound` names the codec of a tone."""
    container_options = {"movflags": "+faststart"} if index_first else {}
    with av.open(str(path), "w", format="mp4", container_options=container_options) as made:
        video = made.add_stream(codec, rate=RATE, options=options or {})
        audio = made.add_stream(sound, rate=48_000, layout="stereo") if sound else None
        assert isinstance(video, av.VideoStream)
        assert audio is None or isinstance(audio, av.AudioStream)
        video.pix_fmt = pixels
        if tagged:
            video.codec_context.colorspace = Colorspace.ITU709
        count = 0
        for image in frames:
            if count == 0:
                video.width, video.height = image.size
            frame = av.VideoFrame.from_ndarray(np.asarray(image))
            made.mux(video.encode(frame.reformat(format=pixels, dst_colorspace=Colorspace.ITU709)))
            count += 1
        made.mux(video.encode(None))
        if audio is not None:
            time = np.arange(48_000 * count // RATE) / 48_000
            tone = (0.2 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
            chord = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            chord.sample_rate = 48_000
            made.mux(audio.encode(chord))
            made.mux(audio.encode(None))
    return path


def boxes(path: Path) -> list[str]:
    """The names of an MP4's outermost boxes in their order."""
    content, names, position = path.read_bytes(), [], 0
    while position < len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        names.append(content[position + 4 : position + 8].decode("ascii"))
        position += size
    return names
