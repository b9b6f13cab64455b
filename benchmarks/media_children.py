"""What it costs to open photos and clips in sealed children: `python benchmarks/media_children.py --help`.

Each piece of work is done in a thread of ours and in a child, by turns, so that whatever else the machine does meets
both alike. Medians, and what starting a child costs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from statistics import median

ROOT = Path(__file__).absolute().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from PIL import Image  # noqa: E402 (whoever runs a script has not set the path)
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from neurocards.demo.samples import draw_product  # noqa: E402
from neurocards.media import children, photos, videos  # noqa: E402
from neurocards.simulators.studio.render import ClipSpec, render_clip  # noqa: E402

MOST_RATIO = 1.5
"""Of the whole way of a photo: checked, shown to the writer, composed."""

console = Console()
Work = Callable[[], object]


def seconds(pool: ThreadPoolExecutor, work: Work) -> float:
    began = time.perf_counter()
    pool.submit(work).result()
    return time.perf_counter() - began


def pieces(folder: Path) -> dict[str, tuple[Work, Work]]:
    """What is done, in a thread and in a child."""
    sample = draw_product()
    large = BytesIO()
    Image.open(BytesIO(sample)).resize((3000, 4000)).save(large, "JPEG", quality=93)
    whole = BytesIO()
    Image.open(BytesIO(sample)).resize((3000, 4000)).save(whole, "PNG", compress_level=1)
    found: dict[str, tuple[Work, Work]] = {}
    for name, data in {"1200×1600 JPEG": sample, "12 MP JPEG": large.getvalue(), "12 MP PNG": whole.getvalue()}.items():
        size = f"{name}, {len(data) / 1e6:.1f} MB"
        found[f"check {size}"] = (lambda d=data: photos.check_photo(d), lambda d=data: children.check_photo(d))
        found[f"compose {size}"] = (lambda d=data: photos.compose_frame(d), lambda d=data: children.compose_frame(d))
    clip, target = folder / "clip.mp4", folder / "target.mp4"
    render_clip(ClipSpec(width=720, height=1280, seconds=5.0), sample, clip)
    how = {"seconds": 5.0, "min_width": 720, "min_height": 1280, "most_bytes": 50_000_000}
    found["finish a clip of 5 s"] = (
        lambda: videos.finish_clip(clip, target, **how),
        lambda: children.finish_clip(clip, target, **how),
    )
    return found


def measure(rounds: int) -> dict[str, object]:
    starts = []
    for _ in range(5):
        began = time.perf_counter()
        child = children.Child()
        child.work("check_photo", {}, [draw_product()], children.PHOTO_LIMITS)
        starts.append(time.perf_counter() - began)
        child.end()
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        for name, (inside, outside) in pieces(Path(folder)).items():
            taken: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds + 1):
                for times, work in zip(taken, (inside, outside), strict=True):
                    spent = seconds(pool, work)
                    if number:  # the first round warms both up
                        times.append(spent)
            figures[name] = {"thread": median(taken[0]), "child": median(taken[1])}
    whole = {way: sum(one[way] for name, one in figures.items() if "1200×1600" in name) for way in ("thread", "child")}
    return {
        "start_of_a_child_and_first_photo_seconds": median(starts),
        "seconds": figures,
        "photo_of_a_phone_seconds": whole,
        "ratio": whole["child"] / whole["thread"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    found = measure(options.rounds)
    if options.json:
        console.print_json(json.dumps(found))
    else:
        table = Table("ms, median", "in a thread", "in a child")
        for name, one in found["seconds"].items():  # type: ignore[attr-defined]
            table.add_row(name, f"{one['thread'] * 1000:.1f}", f"{one['child'] * 1000:.1f}")
        console.print(table)
        console.print(
            f"start of a child and its first photo: {found['start_of_a_child_and_first_photo_seconds']:.2f} s"
        )
        console.print(f"a phone's photo in a child costs {found['ratio']:.2f} of what it costs in a thread")
    return 0 if found["ratio"] <= MOST_RATIO else 1  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
