"""Clips: is what the provider sent the video that was ordered, and the file that a customer gets.

A clip is a stranger's file too. It is opened as MP4 or QuickTime only, from the disk only and with a short list of
decoders, so a playlist or a reference inside it reaches nothing else. Whatever is wrong with it ends as a BadClip. An
error of our own disk does not: nobody must be paid for another video because of that.
"""

from __future__ import annotations  # av.Packet is generic for type checkers only

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image

SHORTER_BY_SECONDS = 0.5
LONGER_BY_SECONDS = 2.0
"""How far a clip may miss the length that was ordered."""
ASPECT_TOLERANCE = 0.01
MAX_SIDE = 4096
MAX_FRAME_RATE = 120
MAX_SECONDS = 300
"""Beyond this it is a damaged time stamp: nobody sells clips of that length."""

LOOK_SECONDS = 0.06
"""Every frame is decoded, but of two that follow each other faster than this only one is looked at."""
BLACK_LUMA = 0.10
BLACK_SHARE = 0.98
"""A frame is black when this share of it is not lighter than that."""
BLACK_SECONDS = 0.3
STILL_LEVELS = 0.9
"""A frame stands still when 99 of 100 patches changed by less than this, of 255 levels. Patches, because each key frame
redraws the fine grain of even a frozen picture, by more than a slow camera changes it: in patches that cancels out, and
moving edges do not. Measured at 720x1280 over 1.5 s: frozen 0.2-0.6, a push-in of 3 % in 8 s 3.1, of 1 % 1.1.
"""
FROZEN_SECONDS = 1.5
FLAT_DEVIATION = 2.5
DEAD_SHARE = 0.4
"""How much of a clip may stand still, or show one colour."""

SOUND_RATE = 48_000
SOUND_FRAME_SAMPLES = 1024
THUMBNAIL_SIDE = 320

_VIDEO_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
_AUDIO_CODECS = frozenset({"aac", "mp3", "opus", "pcm_s16le", "pcm_s16be"})
_PLANAR_8_BIT = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
_UNSPECIFIED_COLOURS = 2
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})


class ClipFault(StrEnum):
    """Why a clip cannot be delivered."""

    NOT_A_VIDEO = "not_a_video"
    TRUNCATED = "truncated"
    """A video, cut short or damaged."""
    WRONG_CODEC = "wrong_codec"
    """Coded in a way that we do not decode."""
    WRONG_LENGTH = "wrong_length"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    WRONG_ASPECT = "wrong_aspect"
    BLACK = "black"
    FROZEN = "frozen"
    ONE_COLOUR = "one_colour"
    TOO_HEAVY = "too_heavy"
    """Looking at it takes more time or memory than any clip may take, or ends the process that does it."""


class BadClip(Exception):
    """The clip cannot be delivered; `code` says why."""

    def __init__(self, code: ClipFault, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class ClipFacts:
    """What a clip is. `audio_codec` is None when it is silent."""

    width: int
    height: int
    seconds: float
    frame_rate: float
    video_codec: str
    audio_codec: str | None
    size_bytes: int


@dataclass(frozen=True)
class Finished:
    """What goes with a clip that is ready for its customer: both pictures are JPEGs of its first frame."""

    facts: ClipFacts
    cover: bytes
    thumbnail: bytes


def finish_clip(
    source: Path, target: Path, *, seconds: float, min_width: int, min_height: int, most_bytes: int
) -> Finished:
    """Check a clip that came in and make what is delivered of it; raises BadClip."""
    check_clip(source, seconds=seconds, min_width=min_width, min_height=min_height)
    prepare_delivery(source, target)
    facts = probe(target)
    if facts.size_bytes > most_bytes:
        raise BadClip(ClipFault.TOO_LARGE, f"{facts.size_bytes} bytes")
    return Finished(facts, cover(target), thumbnail(target))


def probe(path: Path) -> ClipFacts:
    """What the clip's header says; raises BadClip."""
    with _opened(path) as (clip, video):
        return _facts(path, clip, video)


def check_clip(path: Path, *, seconds: float, min_width: int = 720, min_height: int = 1280) -> ClipFacts:
    """Decode the whole clip once and tell what it is; raises BadClip when it is not what was ordered.

    The smallest size that is allowed also gives the aspect.
    """
    with _opened(path) as (clip, video):
        facts = _facts(path, clip, video)
        _check_frame(video, min_width, min_height)
        _check_whole(clip, facts.size_bytes)
        _check_length(facts.seconds, ordered=seconds)
        watched = _watch(clip, video, give_up_seconds=seconds + LONGER_BY_SECONDS)
    if watched.seconds < facts.seconds - SHORTER_BY_SECONDS:
        raise BadClip(ClipFault.TRUNCATED, f"{watched.seconds:.2f} s of {facts.seconds:.2f} s can be decoded")
    _check_length(watched.seconds, ordered=seconds)
    _check_content(watched)
    return replace(facts, seconds=watched.seconds)


def prepare_delivery(source: Path, target: Path) -> None:
    """Write the file that customers get: MP4 with its index first, H.264 yuv420p, AAC; raises BadClip.

    What is so already is copied, not encoded again. A silent clip gets a silent track, because Telegram shows a video
    without sound as an animation, with no controls.
    """
    options = {"movflags": "+faststart"}
    with (
        _opened(source) as (clip, video),
        av.open(f"file:{target}", "w", format="mp4", container_options=options) as made,
    ):
        picture, sound = _picture_track(made, video), _sound(clip)
        tracks: dict[Stream, _Track]
        if sound is None:
            tracks = {video: _with_silence(made, picture)}
        else:
            tracks = {video: picture, sound: _sound_track(made, sound)}
        for packet in clip.demux(*tracks):
            for finished in tracks[packet.stream](packet):
                made.mux(finished)


def cover(path: Path) -> bytes:
    """The first frame as a JPEG in full size; raises BadClip."""
    return _jpeg(_first_frame(path), quality=90)


def thumbnail(path: Path) -> bytes:
    """The first frame as Telegram wants thumbnails: JPEG, at most 320 px, far below 200 kB; raises BadClip."""
    image = _first_frame(path)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return _jpeg(image, quality=85)


# Opening --------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The clip and its video stream; errors of the clip become BadClip, also those met while it is read."""
    try:
        with av.open(
            f"file:{path}",
            format="mp4",
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as clip:
            video = clip.streams.best("video")
            if not isinstance(video, VideoStream):
                raise BadClip(ClipFault.NOT_A_VIDEO, "no video stream")
            if _codec(video) not in _VIDEO_CODECS:
                raise BadClip(ClipFault.WRONG_CODEC, _codec(video))
            if max(video.width, video.height) > MAX_SIDE:
                raise BadClip(ClipFault.TOO_LARGE, f"{video.width}x{video.height}")
            yield clip, video
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # no such file, no space, no permission
            raise
        raise BadClip(_fault_of_unreadable(path), str(error)) from error


def _fault_of_unreadable(path: Path) -> ClipFault:
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] in _FIRST_BOXES
    return ClipFault.TRUNCATED if is_mp4 else ClipFault.NOT_A_VIDEO


def _sound(clip: InputContainer) -> AudioStream | None:
    """The audio stream, if there is one that we can decode."""
    sound = clip.streams.best("audio")
    return sound if isinstance(sound, AudioStream) and _codec(sound) in _AUDIO_CODECS else None


def _codec(stream: Stream) -> str:
    # A codec that the library does not know at all has no context, whatever the types say.
    context: object = stream.codec_context
    return "unknown" if context is None else stream.codec.canonical_name


def _facts(path: Path, clip: InputContainer, video: VideoStream) -> ClipFacts:
    sound = _sound(clip)
    return ClipFacts(
        width=video.width,
        height=video.height,
        seconds=_claimed_seconds(clip, video),
        frame_rate=float(video.average_rate or 0),
        video_codec=_codec(video),
        audio_codec=None if sound is None else _codec(sound),
        size_bytes=path.stat().st_size,
    )


def _claimed_seconds(clip: InputContainer, video: VideoStream) -> float:
    if video.duration is not None and video.time_base is not None:
        return float(video.duration * video.time_base)
    return (clip.duration or 0) / av.time_base


def _first_frame(path: Path) -> Image.Image:
    with _opened(path) as (clip, video):
        for frame in clip.decode(video):
            return Image.fromarray(frame.to_ndarray(format="rgb24", src_colorspace=_untagged_colours(frame)))
    raise BadClip(ClipFault.NOT_A_VIDEO, "no frames")


def _untagged_colours(frame: VideoFrame) -> Colorspace | None:
    """How players read a frame that does not say how its colours are meant; None when it does."""
    return Colorspace.ITU709 if frame.colorspace == _UNSPECIFIED_COLOURS else None


def _jpeg(image: Image.Image, *, quality: int) -> bytes:
    target = io.BytesIO()
    image.save(target, "JPEG", quality=quality)
    return target.getvalue()


# Checking -------------------------------------------------------------------------------------------------------------


def _check_frame(video: VideoStream, min_width: int, min_height: int) -> None:
    measures = f"{video.width}x{video.height}"
    if video.width < min_width or video.height < min_height:
        raise BadClip(ClipFault.TOO_SMALL, measures)
    aspect = video.width / video.height * float(video.sample_aspect_ratio or 1)
    if abs(aspect * min_height / min_width - 1) > ASPECT_TOLERANCE:
        raise BadClip(ClipFault.WRONG_ASPECT, measures)


def _check_whole(clip: InputContainer, size_bytes: int) -> None:
    """A file cut between two frames decodes without an error; only its index, when it comes first, tells."""
    for stream in clip.streams:
        entries = stream.index_entries
        if len(entries) and entries[-1].pos + entries[-1].size > size_bytes:
            raise BadClip(ClipFault.TRUNCATED, "the index points beyond the end of the file")


def _check_length(found_seconds: float, *, ordered: float) -> None:
    if not ordered - SHORTER_BY_SECONDS <= found_seconds <= ordered + LONGER_BY_SECONDS:
        raise BadClip(ClipFault.WRONG_LENGTH, f"{found_seconds:.2f} s instead of {ordered:.2f} s")


def _check_content(watched: _Watched) -> None:
    if watched.starts_black or watched.longest_black_seconds > BLACK_SECONDS:
        raise BadClip(ClipFault.BLACK, f"{watched.longest_black_seconds:.2f} s")
    if watched.flat_seconds > DEAD_SHARE * watched.seconds:
        raise BadClip(ClipFault.ONE_COLOUR, f"{watched.flat_seconds:.2f} s")
    if watched.frozen_seconds > DEAD_SHARE * watched.seconds:
        raise BadClip(ClipFault.FROZEN, f"{watched.frozen_seconds:.2f} s")


@dataclass(frozen=True)
class _Watched:
    """What was seen from the first frame to the last."""

    seconds: float
    starts_black: bool
    longest_black_seconds: float
    flat_seconds: float
    frozen_seconds: float


@dataclass(frozen=True)
class _Look:
    """One frame; `moved` says that it differs from the last one that had moved."""

    seconds: float
    black: bool
    flat: bool
    moved: bool


def _watch(clip: InputContainer, video: VideoStream, *, give_up_seconds: float) -> _Watched:
    """Decode everything and look at it; a clip that goes on for ever is not followed to its end."""
    looks: list[_Look] = []
    total = 0.0
    still = np.empty(0, np.float32)
    for frame, seconds, ends in _timed_frames(clip, video):
        total = ends
        if seconds > give_up_seconds:
            raise BadClip(ClipFault.WRONG_LENGTH, f"more than {give_up_seconds:.2f} s")
        if looks and seconds - looks[-1].seconds < LOOK_SECONDS:
            continue
        planar = frame if frame.format.name in _PLANAR_8_BIT else frame.reformat(format="yuv420p")
        luma = _samples(planar, 0)
        patches = _patches(luma)
        moved = not looks or float(np.percentile(np.abs(patches - still), 99)) > STILL_LEVELS
        still = patches if moved else still
        looks.append(_Look(seconds, _is_black(planar, luma), _is_flat(planar, luma), moved))
    if not looks:
        raise BadClip(ClipFault.NOT_A_VIDEO, "no frames")

    halts = _stretches(looks, total, lambda look: not look.moved)
    return _Watched(
        seconds=total,
        starts_black=looks[0].black,
        longest_black_seconds=max(_stretches(looks, total, lambda look: look.black), default=0.0),
        flat_seconds=sum(_stretches(looks, total, lambda look: look.flat)),
        frozen_seconds=sum(halt for halt in halts if halt >= FROZEN_SECONDS),
    )


def _timed_frames(clip: InputContainer, video: VideoStream) -> Iterator[tuple[VideoFrame, float, float]]:
    """Each frame, when it begins and when it ends. The sound is decoded along with them: it must be whole too."""
    sound = _sound(clip)
    first: float | None = None
    count = 0
    for frame in clip.decode(video) if sound is None else clip.decode(video, sound):
        if not isinstance(frame, VideoFrame):
            continue
        count += 1
        if frame.pts is None or frame.time_base is None:
            raise BadClip(ClipFault.TRUNCATED, f"frame {count} has no time")
        begins = float(frame.pts * frame.time_base)
        first = begins if first is None else first
        seconds = begins - first
        if count > MAX_FRAME_RATE * (seconds + 1):
            raise BadClip(ClipFault.WRONG_LENGTH, f"{count} frames in {seconds:.2f} s")
        yield frame, seconds, seconds + float(frame.duration * frame.time_base)


_Samples = npt.NDArray[np.int16]


def _samples(frame: VideoFrame, plane_number: int) -> _Samples:
    """Every few pixels of a plane, unfiltered: a mean over them is the mean over the plane, but cheaper."""
    plane = frame.planes[plane_number]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
    step = max(1, min(plane.width, plane.height) // 180)
    return rows[step // 2 :: step, step // 2 :: step].astype(np.int16)


def _patches(luma: _Samples) -> npt.NDArray[np.float32]:
    """The means of squares of 8x8 samples."""
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    squares = luma[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
    means: npt.NDArray[np.float32] = squares.mean(axis=(1, 3), dtype=np.float32)
    return means


def _is_black(frame: VideoFrame, luma: _Samples) -> bool:
    full_range = frame.color_range == ColorRange.JPEG
    limit = 255 * BLACK_LUMA if full_range else 16 + 219 * BLACK_LUMA
    return float((luma <= limit).mean()) >= BLACK_SHARE


def _is_flat(frame: VideoFrame, luma: _Samples) -> bool:
    if luma[::4, ::4].std() >= FLAT_DEVIATION:
        return False
    return all(_samples(frame, plane_number).std() < FLAT_DEVIATION for plane_number in (0, 1, 2))


def _stretches(looks: list[_Look], total_seconds: float, applies: Callable[[_Look], bool]) -> Iterator[float]:
    """How long it applied each time: up to the frame where it did no more."""
    since: float | None = None
    for look in looks:
        if applies(look) and since is None:
            since = look.seconds
        elif not applies(look) and since is not None:
            yield look.seconds - since
            since = None
    if since is not None:
        yield total_seconds - since


# Delivering -----------------------------------------------------------------------------------------------------------

_Track: TypeAlias = "Callable[[Packet[Stream]], Iterable[Packet[Stream]]]"
"""Turns packets of the source into packets of the target. The last is empty: what is held back must come."""


def _picture_track(made: OutputContainer, video: VideoStream) -> _Track:
    if _codec(video) == "h264" and video.codec_context.pix_fmt == "yuv420p":
        return _copied(made.add_stream_from_template(video))

    output = made.add_stream("libx264", rate=video.average_rate, options={"preset": "veryfast", "crf": "18"})
    output.width, output.height = video.width // 2 * 2, video.height // 2 * 2
    output.pix_fmt = "yuv420p"
    if video.time_base is not None:
        output.codec_context.time_base = video.time_base
    output.codec_context.colorspace = Colorspace.ITU709
    output.codec_context.color_range = ColorRange.MPEG

    def track(packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        for frame in packet.decode():
            if isinstance(frame, VideoFrame):
                yield from output.encode(
                    frame.reformat(
                        width=output.width,
                        height=output.height,
                        format="yuv420p",
                        src_colorspace=_untagged_colours(frame),
                        dst_colorspace=Colorspace.ITU709,
                        dst_color_range=ColorRange.MPEG,
                    )
                )
        if not packet.size:
            yield from output.encode(None)

    return track


def _sound_track(made: OutputContainer, sound: AudioStream) -> _Track:
    if _codec(sound) == "aac":
        return _copied(made.add_stream_from_template(sound))
    output = made.add_stream("aac", rate=SOUND_RATE, layout="stereo")

    def track(packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        for frame in packet.decode():
            if isinstance(frame, av.AudioFrame):
                yield from output.encode(frame)
        if not packet.size:
            yield from output.encode(None)

    return track


def _copied(output: Stream) -> _Track:
    def track(packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        if packet.size:
            packet.stream = output
            yield packet

    return track


def _with_silence(made: OutputContainer, picture: _Track) -> _Track:
    """The picture, and a silent sound track that keeps pace with it: a muxer holds back what runs ahead."""
    output = made.add_stream("aac", rate=SOUND_RATE, layout="stereo")
    written = wanted = 0

    def silent(samples: int) -> Iterator[Packet[Stream]]:
        nonlocal written
        frame = av.AudioFrame("fltp", "stereo", samples)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = SOUND_RATE, written
        written += samples
        yield from output.encode(frame)

    def track(packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        nonlocal wanted
        if packet.pts is not None:
            wanted = max(wanted, round((packet.pts + (packet.duration or 0)) * packet.time_base * SOUND_RATE))
        if wanted > MAX_SECONDS * SOUND_RATE:
            raise BadClip(ClipFault.WRONG_LENGTH, f"a frame at {wanted / SOUND_RATE:.0f} s")
        yield from picture(packet)
        while wanted - written >= SOUND_FRAME_SAMPLES:
            yield from silent(SOUND_FRAME_SAMPLES)
        if not packet.size:
            if wanted > written:
                yield from silent(wanted - written)
            yield from output.encode(None)

    return track
