"""The pictures in the documentation are those that `scripts/pictures` takes, no more and no fewer."""

from browser.pictures import FOLDER, LARGEST_BYTES, SCREENS, SELLERS, index


def test_every_screen_has_its_picture_in_both_languages() -> None:
    wanted = {f"{seller.language}-{screen}.png" for seller in SELLERS for screen in SCREENS}
    assert {path.name for path in FOLDER.glob("*.png")} == wanted | {"chat.png", "frames.png"}


def test_the_index_shows_every_picture() -> None:
    assert (FOLDER / "README.md").read_text("utf-8") == index()


def test_pictures_are_small() -> None:
    large = [path.name for path in FOLDER.glob("*.png") if path.stat().st_size > LARGEST_BYTES]
    assert large in ([], ["frames.png"])
