"""Clips: what passes as the ordered video, which fault is found in what does not, and the file that is delivered."""

import io
import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from PIL import Image

from media.clips import CLIP_SIZE, RED, boxes, quadrants, still, texture, write_clip, zoom
from neurocards.media.videos import (
    BadClip,
    ClipFacts,
    ClipFault,
    check_clip,
    cover,
    prepare_delivery,
    probe,
    thumbnail,
)

WIDTH, HEIGHT = CLIP_SIZE
SECONDS = 4.0


def check(path: Path, *, seconds: float = SECONDS, min_width: int = WIDTH, min_height: int = HEIGHT) -> ClipFacts:
    return check_clip(path, seconds=seconds, min_width=min_width, min_height=min_height)


def fault_of(path: Path, *, seconds: float = SECONDS) -> ClipFault:
    with pytest.raises(BadClip) as refused:
        check(path, seconds=seconds)
    return refused.value.code


@pytest.fixture(scope="module")
def sound_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip with sound, its index first."""
    path = tmp_path_factory.mktemp("clips") / "good.mp4"
    return write_clip(path, zoom(SECONDS, by=0.1), sound="aac", index_first=True)


# What passes ----------------------------------------------------------------------------------------------------------


def test_a_good_clip_is_described(sound_clip: Path) -> None:
    facts = check(sound_clip)
    assert (facts.width, facts.height, facts.video_codec, facts.audio_codec) == (WIDTH, HEIGHT, "h264", "aac")
    assert facts.seconds == pytest.approx(SECONDS, abs=0.01)
    assert facts.frame_rate == pytest.approx(15)
    assert facts.size_bytes == sound_clip.stat().st_size
    assert probe(sound_clip) == facts


def test_a_slow_push_in_is_not_frozen(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "slow.mp4", zoom(8.0, by=0.03))
    assert check(path, seconds=8.0).seconds == pytest.approx(8.0, abs=0.01)


@pytest.mark.parametrize("ordered", [SECONDS - 1.9, SECONDS, SECONDS + 0.4])
def test_a_length_near_the_ordered_one_passes(sound_clip: Path, ordered: float) -> None:
    check(sound_clip, seconds=ordered)


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [("libx265", "yuv420p"), ("libx265", "yuv420p10le"), ("mpeg4", "yuv420p"), ("libx264", "yuv444p")],
)
def test_other_codecs_pass_and_are_delivered_as_h264(tmp_path: Path, codec: str, pixels: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    source = write_clip(
        tmp_path / "in.mp4", zoom(2.0, by=0.1), codec=codec, pixels=pixels, sound="aac", options=options
    )
    check(source, seconds=2.0)
    prepare_delivery(source, tmp_path / "out.mp4")
    facts = check(tmp_path / "out.mp4", seconds=2.0)
    assert (facts.video_codec, facts.audio_codec) == ("h264", "aac")
    assert facts.seconds == pytest.approx(2.0, abs=0.07)
    assert_same_picture(first_frame(tmp_path / "out.mp4"), first_frame(source))
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.streams.video[0].pix_fmt == "yuv420p"


def test_a_short_dark_moment_and_a_short_halt_pass(tmp_path: Path) -> None:
    frames = chain(zoom(2.0, by=0.1), still(0.2, (0, 0, 0)), zoom(2.0, by=0.1), still(1.2))
    check(write_clip(tmp_path / "moments.mp4", frames), seconds=5.4)


# What does not --------------------------------------------------------------------------------------------------------


def not_a_video(path: Path) -> None:
    path.write_text("This is no video.\n" * 100)


def playlist(path: Path) -> None:
    secret = path.with_suffix(".secret")
    secret.write_text("nobody may read this")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{secret}\n#EXT-X-ENDLIST\n")


def picture(path: Path) -> None:
    texture(*CLIP_SIZE).save(path, "PNG")


def no_frames(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as made:
        video = made.add_stream("libx264", rate=15)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        made.start_encoding()


def only_sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as made:
        audio = made.add_stream("aac", rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 48_000), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        made.mux(audio.encode(frame))
        made.mux(audio.encode(None))


def cut(path: Path) -> None:
    write_clip(path, zoom(SECONDS, by=0.1), index_first=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_near_the_end(path: Path) -> None:
    write_clip(path, zoom(SECONDS, by=0.1), index_first=True)
    path.write_bytes(path.read_bytes()[:-40])


def cut_between_two_frames(path: Path) -> None:
    write_clip(path, zoom(SECONDS, by=0.1), index_first=True)
    with av.open(str(path)) as clip:
        end = max(entry.pos for entry in clip.streams.video[0].index_entries)
    path.write_bytes(path.read_bytes()[:end])


def cut_before_its_index(path: Path) -> None:
    write_clip(path, zoom(SECONDS, by=0.1))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])


def overwritten(path: Path) -> None:
    write_clip(path, zoom(SECONDS, by=0.1), index_first=True)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : start + (len(content) - start) // 2] = os.urandom((len(content) - start) // 2)
    path.write_bytes(content)


FAULTS: dict[str, tuple[Callable[[Path], object], ClipFault]] = {
    "an empty file": (lambda path: path.touch(), ClipFault.NOT_A_VIDEO),
    "a text": (not_a_video, ClipFault.NOT_A_VIDEO),
    "a playlist": (playlist, ClipFault.NOT_A_VIDEO),
    "a picture": (picture, ClipFault.NOT_A_VIDEO),
    "no frames": (no_frames, ClipFault.NOT_A_VIDEO),
    "only sound": (only_sound, ClipFault.NOT_A_VIDEO),
    "cut": (cut, ClipFault.TRUNCATED),
    "cut near the end": (cut_near_the_end, ClipFault.TRUNCATED),
    "cut between two frames": (cut_between_two_frames, ClipFault.TRUNCATED),
    "cut before its index": (cut_before_its_index, ClipFault.TRUNCATED),
    "overwritten": (overwritten, ClipFault.TRUNCATED),
    "a codec we do not decode": (
        lambda path: write_clip(path, zoom(SECONDS, by=0.1), codec="mjpeg", pixels="yuvj420p"),
        ClipFault.WRONG_CODEC,
    ),
    "too short": (lambda path: write_clip(path, zoom(SECONDS - 0.6, by=0.1)), ClipFault.WRONG_LENGTH),
    "too long": (lambda path: write_clip(path, zoom(SECONDS + 2.1, by=0.1)), ClipFault.WRONG_LENGTH),
    "too small": (lambda path: write_clip(path, zoom(SECONDS, by=0.1, size=(90, 160))), ClipFault.TOO_SMALL),
    "too large": (lambda path: write_clip(path, [Image.new("RGB", (2320, 4128))]), ClipFault.TOO_LARGE),
    "landscape": (lambda path: write_clip(path, zoom(SECONDS, by=0.1, size=(560, 320))), ClipFault.WRONG_ASPECT),
    "a little wide": (lambda path: write_clip(path, zoom(SECONDS, by=0.1, size=(186, 320))), ClipFault.WRONG_ASPECT),
    "black": (lambda path: write_clip(path, still(SECONDS, (0, 0, 0))), ClipFault.BLACK),
    "a black first frame": (
        lambda path: write_clip(path, chain(still(1 / 15, (0, 0, 0)), zoom(SECONDS, by=0.1))),
        ClipFault.BLACK,
    ),
    "a black stretch": (
        lambda path: write_clip(path, chain(zoom(2, by=0.1), still(0.4, (9, 9, 9)), zoom(2, by=0.1))),
        ClipFault.BLACK,
    ),
    "a black end": (lambda path: write_clip(path, chain(zoom(3.6, by=0.1), still(0.4, (0, 0, 0)))), ClipFault.BLACK),
    "frozen": (lambda path: write_clip(path, still(SECONDS)), ClipFault.FROZEN),
    "frozen for its second half": (
        lambda path: write_clip(path, chain(zoom(2, by=0.1), still(2))),
        ClipFault.FROZEN,
    ),
    "frozen, with a key frame every second": (
        lambda path: write_clip(path, still(SECONDS), options={"g": "15"}),
        ClipFault.FROZEN,
    ),
    "one colour": (lambda path: write_clip(path, still(SECONDS, (90, 140, 200))), ClipFault.ONE_COLOUR),
    "one colour for half of it": (
        lambda path: write_clip(path, chain(zoom(2, by=0.1), still(2, (255, 255, 255)))),
        ClipFault.ONE_COLOUR,
    ),
}


@pytest.mark.parametrize(("make", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_f63_an_unusable_clip_is_refused_with_its_fault(
    tmp_path: Path, make: Callable[[Path], object], fault: ClipFault
) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    assert fault_of(path) is fault


@pytest.mark.parametrize(
    "make", [lambda path: path.touch(), not_a_video, playlist, no_frames, only_sound, cut_before_its_index]
)
def test_t07_no_function_raises_anything_else_over_hostile_files(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    for work in (probe, cover, thumbnail, lambda source: prepare_delivery(source, tmp_path / "out.mp4")):
        with pytest.raises(BadClip):
            work(path)


def test_t07_damaged_clips_never_raise_anything_else(sound_clip: Path, tmp_path: Path) -> None:
    whole = sound_clip.read_bytes()
    index_end = whole.index(b"mdat")
    dice = np.random.default_rng(3)
    path, refused = tmp_path / "clip.mp4", 0
    for _ in range(60):
        content = bytearray(whole)
        for place in dice.integers(0, index_end, dice.integers(1, 12)):
            content[place] = dice.integers(0, 256)
        path.write_bytes(content)
        for work in (check, cover, lambda source: prepare_delivery(source, tmp_path / "out.mp4")):
            try:
                work(path)
            except BadClip:
                refused += 1
    assert refused > 20


def test_t31_a_frame_days_ahead_does_not_make_days_of_silence(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, zoom(2.0, by=0.1), options={"bf": "0"})
    content = path.read_bytes()
    times = content.index(b"stts") + 16
    assert int.from_bytes(content[times - 4 : times], "big") == 30, "one entry for all thirty frames"
    path.write_bytes(content[:times] + (2**30).to_bytes(4, "big") + content[times + 4 :])
    with pytest.raises(BadClip) as refused:
        prepare_delivery(path, tmp_path / "out.mp4")
    assert refused.value.code is ClipFault.WRONG_LENGTH


def test_a_title_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", format="mp4") as made:
        made.metadata["title"] = "a title to be damaged"
        video = made.add_stream("libx264", rate=15)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in zoom(2.0, by=0.1):
            made.mux(video.encode(av.VideoFrame.from_ndarray(np.asarray(image))))
        made.mux(video.encode(None))
    path.write_bytes(path.read_bytes().replace(b"a title to be", b"\xff\xfe\xff\xc3\x28 to be"))
    check(path, seconds=2.0)


def test_trouble_of_our_own_disk_is_not_blamed_on_the_clip(sound_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check(tmp_path / "gone.mp4")
    with pytest.raises(OSError, match="No such file"):
        prepare_delivery(sound_clip, tmp_path / "no folder" / "out.mp4")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            prepare_delivery(sound_clip, Path("/dev/full"))


# What is delivered ----------------------------------------------------------------------------------------------------


def decoded(path: Path) -> tuple[list[av.VideoFrame], list[av.AudioFrame]]:
    with av.open(str(path)) as clip:
        frames = list(clip.decode(clip.streams.video[0], *clip.streams.audio))
    return (
        [frame for frame in frames if isinstance(frame, av.VideoFrame)],
        [frame for frame in frames if isinstance(frame, av.AudioFrame)],
    )


def first_frame(path: Path) -> Image.Image:
    frame = decoded(path)[0][0]
    return Image.fromarray(frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709))


def assert_same_picture(one: Image.Image, other: Image.Image, *, mean_difference: float = 4.0) -> None:
    difference = np.abs(np.asarray(one, np.int16) - np.asarray(other.resize(one.size), np.int16))
    assert difference.mean() < mean_difference


def test_a_delivery_is_the_same_video_with_its_index_first(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", zoom(SECONDS, by=0.1), sound="aac")
    assert boxes(source).index("moov") > boxes(source).index("mdat")
    target = tmp_path / "out.mp4"
    prepare_delivery(source, target)

    assert boxes(target).index("moov") < boxes(target).index("mdat")
    assert check(target).audio_codec == "aac"
    before, after = decoded(source), decoded(target)
    assert [frame.to_ndarray().tobytes() for frame in before[0]] == [frame.to_ndarray().tobytes() for frame in after[0]]
    assert [frame.time for frame in before[0]] == [frame.time for frame in after[0]]
    assert sum(frame.samples for frame in before[1]) == sum(frame.samples for frame in after[1])


def test_a_silent_clip_gets_a_silent_track_of_its_length(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", zoom(SECONDS, by=0.1))
    assert probe(source).audio_codec is None
    target = tmp_path / "out.mp4"
    prepare_delivery(source, target)

    assert check(target).audio_codec == "aac"
    assert boxes(target).index("moov") < boxes(target).index("mdat")
    with av.open(str(target)) as made:
        audio = made.streams.audio[0]
        assert (audio.rate, audio.layout.name) == (48_000, "stereo")
        assert audio.duration is not None
        assert audio.time_base is not None
        assert float(audio.duration * audio.time_base) == pytest.approx(SECONDS, abs=0.03)
    pictures, sounds = decoded(target)
    assert len(pictures) == SECONDS * 15
    assert max(float(np.abs(frame.to_ndarray()).max()) for frame in sounds) < 1e-4


def test_other_sound_becomes_aac_and_stays_audible(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", zoom(SECONDS, by=0.1), sound="libmp3lame")
    assert probe(source).audio_codec == "mp3"
    prepare_delivery(source, tmp_path / "out.mp4")
    assert check(tmp_path / "out.mp4").audio_codec == "aac"
    loudness = np.concatenate([frame.to_ndarray()[0] for frame in decoded(tmp_path / "out.mp4")[1]])
    assert len(loudness) / 48_000 == pytest.approx(SECONDS, abs=0.1)
    assert 0.1 < float(np.abs(loudness[9_600:-9_600]).max()) < 0.3


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_colours_are_those_that_a_player_shows(tmp_path: Path, *, codec: str, tagged: bool) -> None:
    source = write_clip(tmp_path / "in.mp4", still(1.0, RED), codec=codec, tagged=tagged)
    prepare_delivery(source, tmp_path / "out.mp4")
    for path in (source, tmp_path / "out.mp4"):
        shown = np.asarray(Image.open(io.BytesIO(cover(path))).convert("RGB"), np.int16).mean(axis=(0, 1))
        assert np.abs(shown - RED).max() <= 4


def test_cover_and_thumbnail_show_the_first_frame(tmp_path: Path) -> None:
    frames = chain([quadrants(720, 1280)], (texture(720, 1280, seed=seed) for seed in range(5)))
    path = write_clip(tmp_path / "clip.mp4", frames, options={"crf": "15"})
    for jpeg, size in ((cover(path), (720, 1280)), (thumbnail(path), (180, 320))):
        image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
        assert image.size == size
        assert_same_picture(image.convert("RGB"), quadrants(*size))
        assert len(jpeg) < 200_000
