"""Icons and colours of the windows have enough contrast by WCAG 2, and differ in shape."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from PIL import Image
from PIL.IcoImagePlugin import IcoImageFile

from agent.core.view import NUMBERED_DAYS, PICTURES
from agent.dialogs.palette import DARK, LIGHT, SYSTEM_COLOURS, Palette
from installer import pictures
from tests.support.places import ROOT

ICONS = sorted(set(PICTURES.values()))
NUMBERS = [f"days-{days}" for days in range(NUMBERED_DAYS + 1)]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, each `#rrggbb`."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_windows_can_be_read(palette: Palette) -> None:
    """Texts, edges and the focus ring have enough contrast to their background."""
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)  # a known value
    p = palette
    texts = [
        *product((p.text, p.quiet, p.error, p.warning, p.disabled), (p.paper,)),
        *product((p.text, p.disabled), (p.field, p.paper)),
        *product((p.button_text, p.disabled), (p.button,)),
        (p.button_text, p.hover),
        (p.on_accent, p.accent),
    ]
    edges = product((p.border, p.accent), (p.paper, p.field, p.button))
    assert {pair: contrast(*pair) for pair in texts if contrast(*pair) < 4.5} == {}
    assert {pair: contrast(*pair) for pair in edges if contrast(*pair) < 3} == {}


def test_a_contrast_theme_has_system_colours_only() -> None:
    """With a contrast theme each colour is a system colour, in the pairs that Windows defines."""
    number = SYSTEM_COLOURS
    assert number.keys() == Palette.__dataclass_fields__.keys()
    assert (number["paper"], number["text"]) == (5, 8)  # COLOR_WINDOW, COLOR_WINDOWTEXT
    assert (number["accent"], number["on_accent"]) == (13, 14)  # COLOR_HIGHLIGHT, …TEXT
    assert (number["button"], number["button_text"]) == (15, 18)  # COLOR_BTNFACE, COLOR_BTNTEXT


@pytest.mark.parametrize("name", ICONS + NUMBERS)
def test_icon_is_seen_on_light_and_dark_task_bars(name: str) -> None:
    """The icon has a contrast of 3:1 (WCAG, graphics) to task bars and to its white marks."""
    colours = pictures.render(name, 64).getcolors(64 * 64) or []
    opaque = [(n, c[:3]) for n, c in colours if isinstance(c, tuple) and c[3] == 255]
    _, main = max((n, c) for n, c in opaque if c != (255, 255, 255))
    for beside in ("#f3f3f3", "#1c1c1c", "#101010", "#ffffff"):
        assert contrast(f"#{bytes(main).hex()}", beside) >= 3


def outline(name: str) -> bytes:
    picture = pictures.render(name, 64).resize((16, 16), Image.Resampling.BOX)
    return picture.getchannel("A").tobytes()


def strokes(name: str) -> bytes:
    """Return a digit's white pixels at 16 px; each pixel must be fully white or not white."""
    red, _, blue, alpha = pictures.render(name, 16).crop((2, 2, 14, 14)).split()
    assert set(alpha.tobytes()) == {255}
    assert len(set(red.tobytes())) == 2
    return blue.tobytes()


def test_icons_differ_in_shape() -> None:
    """Icons differ in shape at 16 px, also for users who cannot tell red from green."""
    plain = {name: outline(name) for name in [*ICONS, NUMBERS[0]]}
    digits = {name: strokes(name) for name in NUMBERS}
    for shapes, least in ((plain, 30), (digits, 6)):
        for one, other in combinations(shapes, 2):
            pairs = zip(shapes[one], shapes[other], strict=True)
            assert sum((a > 127) != (b > 127) for a, b in pairs) >= least, (one, other)


@pytest.mark.parametrize("name", ICONS + NUMBERS)
def test_icon_file_has_every_size_as_drawn(name: str) -> None:
    """The files are what `installer/pictures.py` draws, one picture for each scale of Windows."""
    with IcoImageFile(ROOT / "agent" / "assets" / f"{name}.ico") as file:
        assert {size for size, _ in file.info["sizes"]} == set(pictures.ICO_SIZES)
        for size in pictures.ICO_SIZES:
            drawn = file.ico.getimage((size, size)).convert("RGBA")
            assert drawn.tobytes() == pictures.render(name, size).tobytes()
