"""Strangers' files in processes of their own: a bomb is refused, a crash costs a child, and nobody is left behind."""

import io
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from media.clips import encoded, texture
from media.test_photos import animated, hungry, many_scans, png_header
from neurocards.bot.screens import photo_refused
from neurocards.media import children
from neurocards.media.children import PHOTO_LIMITS, Child, Children, Refused, TooHeavy
from neurocards.media.confinement import Limits
from neurocards.media.photos import BadPhoto, PhotoFault
from neurocards.media.videos import BadClip, ClipFault

GOOD = encoded(texture(400, 400), "JPEG")
"""Admitted, and takes longer than anything else that is."""


@pytest.fixture
def pool() -> Iterator[Children]:
    """A pool of one child, which is there and warm."""
    pool = Children(most=1)
    pool.work("check_photo", {}, [GOOD], PHOTO_LIMITS)
    yield pool
    pool.close()


def pid_of(pool: Children) -> int:
    """The only child's process id, while it does nothing."""
    return pool._free[0].process.pid


def work_seconds(pid: int) -> float:
    """What a process has worked so far, by itself and for its files in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int) -> float:
    found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


# Bombs ----------------------------------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes, width: int = 400, height: int = 400) -> bytes:
    """A PNG of these chunks behind its header."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    """A sound JPEG whose header says that it is of another size."""
    data = bytearray(GOOD)
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is of that size, with a small picture in it."""
    inner = encoded(texture(400, 400), "WEBP")[12:]
    canvas = bytes([0, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def zipped(size: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(size))
    return target.getvalue()


def many_frames(format_name: str, count: int) -> bytes:
    frames = [Image.new("L", (300, 300), n) for n in range(count)]
    return encoded(frames[0], format_name, save_all=True, append_images=frames[1:], duration=10)


ZEROS = zlib.compress(bytes(80_000_000), 1)
WHITE = chunk(b"IDAT", zlib.compress(bytes((400 * 3 + 1) * 400)))
LAUGHS = '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)

BOMBS: dict[str, bytes] = {
    "png of 100 megapixels": png_header(10_000, 10_000),
    "png of 4 gigapixels": png_header(65_000, 65_000),
    "png as wide as it can say": png_header(0x7FFFFFFF, 1),
    "png as large as it can say": png_header(0x7FFFFFFF, 0x7FFFFFFF),
    "png of more than it can say": png_header(0xFFFFFFFF, 0xFFFFFFFF),
    "png of no size": png_header(0, 0),
    "sound png of 100 megapixels": encoded(Image.new("1", (10_000, 10_000)), "PNG", compress_level=1),
    "sound palette of 30 megapixels": encoded(Image.new("P", (6_000, 5_000)), "PNG", compress_level=1),
    "png cut in the middle of 80 megabytes": png(chunk(b"IDAT", ZEROS[:50])),
    "png with a text of 80 megabytes": png(chunk(b"zTXt", b"Comment\0\0" + ZEROS), WHITE),
    "png with a translated text of 80 megabytes": png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + ZEROS), WHITE),
    "png with a colour profile of 80 megabytes": png(chunk(b"iCCP", b"sRGB\0\0" + ZEROS), WHITE),
    "png of 900,000 chunks": png(chunk(b"tEXt", b"a\0b") * 900_000, WHITE),
    "png with texts of 70 megabytes": png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(990_000), 1)) * 70, WHITE),
    "png of many pictures": many_frames("PNG", 40),
    "jpeg of 51 megapixels": encoded(Image.new("L", (10_200, 5_000)), "JPEG"),
    "jpeg that says 4 gigapixels": jpeg_claiming(65_500, 65_500),
    "jpeg of a million segments": b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000 + GOOD[2:],
    "jpeg behind 19 megabytes of nothing": b"\xff\xd8\xff" + bytes(19_000_000) + GOOD[2:],
    "jpeg that says a line": jpeg_claiming(65_500, 300),
    "jpeg of 80 scans": many_scans(80),
    "jpeg of 3,000 scans": many_scans(3_000),
    "webp of 17 megapixels": encoded(Image.new("L", (4_250, 4_000)), "WEBP", method=0),
    "webp that says 268 megapixels": webp_claiming(16_383, 16_383),
    "webp that says 281 terapixels": webp_claiming(1 << 24, 1 << 24),
    "webp of many pictures": many_frames("WEBP", 40),
    "gif of many pictures": many_frames("GIF", 40),
    "gif that says 4 gigapixels": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + animated("GIF")[10:],
    "tiff of 100 megapixels": encoded(Image.new("1", (10_000, 10_000)), "TIFF", compression="group4"),
    "bmp that says 4 gigapixels": b"BM" + struct.pack("<IIIIii", 99, 0, 54, 40, 65_000, 65_000) + bytes(99),
    "fits that says 100 gigapixels": (b"SIMPLE  =                    T".ljust(80) + b"NAXIS1  =  999999999").ljust(
        2880
    ),
    "pdf with a picture": b"%PDF-1.7\n1 0 obj<</Type/XObject/Width 99999/Height 99999>>\n" + ZEROS[:9999],
    "photoshop of 300,000 by 300,000": b"8BPS\0\2" + bytes(6) + struct.pack(">HIIHH", 3, 300_000, 300_000, 8, 3),
    "icon of 65,000 pictures": b"\0\0\1\0\xff\xff" + bytes(16) * 1000,
    "spider volume": struct.pack(">27f", *[99_999.0] * 27) + bytes(99),
    "dcx of 1,023 pages": struct.pack("<I", 987654321) + struct.pack("<1023I", *range(1, 1024)),
    "postscript that runs for ever": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n",
    "laughing svg": (LAUGHS + "]><svg>&j;</svg>").encode(),
    "zip of 80 megabytes": zipped(80_000_000),
    "heif of 1,000,000 pictures": b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + b"\0\x0f\x42\x40" * 1000,
}


def test_t05_none_of_forty_bombs_goes_off(pool: Children) -> None:
    assert len(BOMBS) == 40
    pid = pid_of(pool)
    for name, bomb in BOMBS.items():
        before = work_seconds(pid)
        with pytest.raises(Refused) as refused:
            pool.work("check_photo", {}, [bomb], PHOTO_LIMITS)
        assert pid_of(pool) == pid, f"{name}: it ended its child"
        assert work_seconds(pid) - before < 1.0, name
        assert peak_megabytes(pid) < 200, name
        for language in ("ru", "en"):
            assert photo_refused(language, PhotoFault(refused.value.code)).text


def test_t05_what_is_admitted_is_ended_at_its_limit_and_the_next_photo_goes_on(pool: Children) -> None:
    memory = PHOTO_LIMITS.memory_bytes
    for photo, told, limits in (
        ("png", "memory", Limits(cpu_seconds=10, wall_seconds=30, memory_bytes=20_000_000, written_bytes=0)),
        ("webp", "work", Limits(cpu_seconds=0, wall_seconds=30, memory_bytes=memory, written_bytes=0)),
        ("webp", "0 s", Limits(cpu_seconds=10, wall_seconds=0.05, memory_bytes=memory, written_bytes=0)),
    ):
        with pytest.raises(TooHeavy, match=told):
            for _ in range(9):  # some of its first second of work may be left
                pool.work("compose_frame", {"width": 1080, "height": 1920}, [hungry(photo)], limits)
        assert pool.work("check_photo", {}, [GOOD], PHOTO_LIMITS)[0]["format"] == "JPEG"


def test_t05_a_child_that_stands_still_is_a_refusal_and_no_hang(pool: Children) -> None:
    os.kill(pid_of(pool), signal.SIGSTOP)
    stopped = pid_of(pool)
    limits = Limits(cpu_seconds=10, wall_seconds=0.1, memory_bytes=PHOTO_LIMITS.memory_bytes, written_bytes=0)
    with pytest.raises(TooHeavy):
        pool.work("check_photo", {}, [GOOD + bytes(5_000_000)], limits)
    assert not Path(f"/proc/{stopped}").exists(), "it is gone, and nobody has to wait for it"


def test_t05_a_photo_that_ends_its_child_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played with signals, because no file is known that does it."""
    ended: list[int] = []
    stop = threading.Event()

    def kill_whoever_works() -> None:
        while not stop.wait(0.02):
            for pid in our_children() - set(ended):
                if work_seconds(pid) > 0.1:
                    ended.append(pid)
                    os.kill(pid, signal.SIGKILL)

    pool = Children(most=1)
    monkeypatch.setattr(children, "_CHILDREN", pool)
    known = our_children()
    ended.extend(known)
    killer = threading.Thread(target=kill_whoever_works)
    killer.start()
    try:
        with pytest.raises(BadPhoto) as refused:
            children.compose_frame(hungry("webp"))
    finally:
        stop.set()
        killer.join()
    assert refused.value.code is PhotoFault.TOO_HEAVY
    assert len(ended) - len(known) == 2, "it was tried once more, and only once"
    assert children.check_photo(GOOD).format == "JPEG"
    pool.close()


def our_children() -> set[int]:
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = path.parent.name, path.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid() and b"neurocards.media.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.add(int(pid))
    return found


def test_t05_a_child_that_was_killed_while_it_did_nothing_is_nobodys_fault(pool: Children) -> None:
    killed = pid_of(pool)
    os.kill(killed, signal.SIGKILL)
    while work_state(killed) not in "ZX":
        time.sleep(0.001)
    assert pool.work("check_photo", {}, [GOOD], PHOTO_LIMITS)[0]["format"] == "JPEG"
    assert pid_of(pool) != killed


def work_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def test_t05_after_its_share_of_work_a_child_is_replaced(pool: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "WORK_PER_CHILD", 3)
    pids = [pid_of(pool)]
    for _ in range(4):
        pool.work("check_photo", {}, [GOOD], PHOTO_LIMITS)
        pids += [child.process.pid for child in pool._free]
    assert len(set(pids)) == 2


def test_t05_an_answer_that_nobody_understands_is_a_lost_child() -> None:
    """As if a photo had taken its decoder over and now talked to us."""
    for answer in (
        b"\xff\xff\xff\xff",
        b"\0\0\0\2[]",
        b"\0\0\0\x10" + b'{"parts": [-9]} ',
        b"\0\0\0\x14" + b'{"parts":[999999999]}'[:20],
    ):
        child = Child()
        child._line.close()
        child._line, theirs = socket.socketpair()
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(children.Lost):
            child.work("check_photo", {}, [b""], PHOTO_LIMITS)
        theirs.close()
        assert not child.alive


def test_t05_a_child_does_not_outlive_whoever_started_it() -> None:
    """kill -9 leaves no time to say goodbye, and the child is in the middle of its work."""
    script = (
        "import sys, threading, time\n"
        "from neurocards.media import children\n"
        "photo = sys.stdin.buffer.read()\n"
        "def work():\n    while True:\n        children.compose_frame(photo)\n"
        "children.check_photo(photo)\n"
        "child = children._CHILDREN._free[0].process.pid\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "print(child, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as owner:
        assert owner.stdin and owner.stdout
        owner.stdin.write(hungry("png palette"))
        owner.stdin.close()
        pid = int(owner.stdout.readline())
        owner.kill()
    until = time.monotonic() + 10
    while work_state(pid) not in "ZX":
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.01)


# What a child is without ----------------------------------------------------------------------------------------------


def test_t19_a_child_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_TOKEN", "4242424:canary")
    child = Child()
    try:
        child.work("check_photo", {}, [GOOD], PHOTO_LIMITS)
        told = Path(f"/proc/{child.process.pid}/environ").read_bytes()
        assert b"PYTHONPATH" in told and b"canary" not in told and b"TOKEN" not in told
    finally:
        child.end()


def test_t07_who_is_sealed_opens_no_socket_starts_no_program_and_signals_nobody(pool: Children) -> None:
    status = Path(f"/proc/{pid_of(pool)}/status").read_text()
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE) and re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    script = (
        "import os, socket, threading\n"
        "from neurocards.media.confinement import seal\n"
        "assert seal()\n"
        "refused = []\n"
        "def tried(name, act):\n"
        "    try:\n        act()\n    except PermissionError:\n        refused.append(name)\n"
        "def everything():\n"
        "    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):\n"
        "        tried('socket', lambda: socket.socket(family))\n"
        "    tried('socketpair', socket.socketpair)\n"
        "    tried('exec', lambda: os.execv('/bin/true', ['true']))\n"
        "    tried('kill', lambda: os.kill(os.getppid(), 0))\n"
        "everything()\n"
        "thread = threading.Thread(target=everything)\n"
        "thread.start(); thread.join()\n"
        "print(*refused)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment, text=True)
    assert ran.stdout.split() == ["socket", "socket", "socket", "socketpair", "exec", "kill"] * 2


def test_t19_who_is_sealed_cannot_look_into_whoever_holds_the_secrets(tmp_path: Path) -> None:
    """The kernel shows a process's environment and memory to others of its user, and the environment always to root."""
    kept = tmp_path / "kept.jpg"
    kept.write_bytes(GOOD)
    script = (
        "import os, sys\n"
        "from neurocards.media import confinement\n"
        "names = ['mem', *(['environ'] if os.geteuid() else [])]\n"
        "places = [f'/proc/{os.getppid()}/{name}' for name in names]\n"
        "for place in places:\n    open(place, 'rb').close()\n"
        "if confinement.seal() and not confinement.fence():\n    sys.exit('no Landlock')\n"
        "for place in places:\n"
        "    try:\n        open(place, 'rb').close()\n"
        "    except PermissionError:\n        names.remove(place.rpartition('/')[2])\n"
        "try:\n    os.remove(sys.argv[1])\n"
        "except PermissionError:\n    print('kept')\n"
        "print(*names)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", script, kept], capture_output=True, check=False, env=environment, text=True
    )
    if "no Landlock" in ran.stderr:
        pytest.skip("this kernel has no Landlock")
    assert (ran.stdout.split(), ran.stderr) == (["kept"], "")
    assert kept.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n%s/clip.mp4\n#EXT-X-ENDLIST\n",
        b"#EXTM3U\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '%s/clip.mp4'\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"RTSPtext\r\nrtsp://%s/clip\r\n",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x08moov",
    ],
    ids=["playlist", "playlist of files", "list", "list of files", "stream", "nothing in it"],
)
def test_t07_a_clip_that_points_elsewhere_reaches_nothing(hostile: bytes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        address = b"http://127.0.0.1:%d" % listener.getsockname()[1]
        source = tmp_path / "clip.part"
        source.write_bytes(hostile.replace(b"%s", address))
        with pytest.raises(BadClip) as refused:
            children.finish_clip(
                source, tmp_path / "clip.mp4", seconds=5, min_width=720, min_height=1280, most_bytes=50_000_000
            )
        assert refused.value.code in (ClipFault.NOT_A_VIDEO, ClipFault.TRUNCATED)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_t07_an_error_of_our_own_disk_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        children.finish_clip(
            tmp_path / "gone.part", tmp_path / "clip.mp4", seconds=5, min_width=720, min_height=1280, most_bytes=1
        )


# What comes out -------------------------------------------------------------------------------------------------------

FOREIGN = (
    b"PK\x03\x04",
    b"%PDF",
    b"<script",
    b"<svg",
    b"<html",
    b"<?php",
    b"GIF8",
    b"\x7fELF",
    b"Exif",
    b"GPS",
    b"http:",
)
PAYLOADS = (
    b"PK\x03\x04payload",
    b"%PDF-1.7 payload",
    b"<script>alert(1)</script>",
    b"<svg onload=alert(1)>",
    b"<html><body>",
    b"<?php system($_GET[0]); ?>",
    b"GIF89a/*",
    b"\x7fELF\x02\x01",
)


def with_place() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "GPS http://shop.example"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 2.5), 3: "W", 4: (0.0, 7.0, 28.6)})
    return exif


def polyglots() -> Iterator[tuple[str, bytes]]:
    picture = texture(320, 320)
    for number, payload in enumerate(PAYLOADS):
        yield f"behind a jpeg {number}", encoded(picture, "JPEG") + payload
        yield f"in a jpeg {number}", encoded(picture, "JPEG", comment=payload, exif=with_place())
        yield (
            f"behind a webp {number}",
            encoded(picture, "WEBP", exif=with_place(), xmp=b"<x>GPS</x>" + payload) + payload,
        )
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", payload.decode("latin-1"))
        text.add_itxt("XML:com.adobe.xmp", "<x>GPS</x>")
        yield f"in a png {number}", encoded(picture, "PNG", pnginfo=text, exif=with_place()) + payload
    yield (
        "a second picture",
        encoded(picture, "MPO", save_all=True, append_images=[texture(310, 310)], exif=with_place()),
    )


def test_t06_of_a_polyglot_only_the_picture_goes_on(pool: Children) -> None:
    for name, data in polyglots():
        assert any(sign in data for sign in FOREIGN), name
        for work, asked in {"preview": {"longest": 320}, "compose_frame": {"width": 180, "height": 320}}.items():
            request: dict[str, Any] = dict(asked)
            _, (made,) = pool.work(work, request, [data], PHOTO_LIMITS)
            assert [sign for sign in FOREIGN if sign in made] == [], name
            assert made.startswith(b"\xff\xd8\xff") and made.endswith(b"\xff\xd9") and made.count(b"\xff\xd8\xff") == 1
            image = Image.open(io.BytesIO(made), formats=["JPEG"])
            assert not image.getexif() and not image.info.keys() & {"exif", "comment", "xmp", "icc_profile"}
            assert np.asarray(image).std() > 1, "and the picture is there"
