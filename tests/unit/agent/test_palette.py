"""The colours of the windows, measured as WCAG 2 says."""

from __future__ import annotations

import itertools

import pytest

from agent.dialogs.palette import DARK, LIGHT, Palette, of_contrast_theme
from tests.support.contrast import contrast

SYSTEM = {
    "window": "#000000", "window_text": "#ffffff", "highlight": "#1aebff",
    "highlight_text": "#000001", "button": "#000002", "button_text": "#fffffe",
    "grey_text": "#3ff23f",
}  # fmt: skip


def test_contrast_is_that_of_wcag() -> None:
    """Black on white has 21 : 1, and #767676 on white is the known limit of 4.5 : 1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(palette: Palette) -> None:
    """Every text can be read on its ground, and so can edges and the keyboard's ring."""
    p = palette
    texts = [
        *itertools.product((p.text, p.quiet, p.error, p.warning, p.disabled), (p.paper,)),
        *itertools.product((p.text, p.disabled), (p.field, p.paper)),
        *itertools.product((p.button_text, p.disabled), (p.button,)),
        (p.button_text, p.hover),
        (p.on_accent, p.accent),
    ]
    edges = itertools.product((p.border, p.accent), (p.paper, p.field, p.button))
    assert {pair: contrast(*pair) for pair in texts if contrast(*pair) < 4.5} == {}
    assert {pair: contrast(*pair) for pair in edges if contrast(*pair) < 3} == {}


def test_a_contrast_theme_has_system_colours_only() -> None:
    """Each colour is one of the user's, and texts are on the grounds that Windows gives them."""
    palette = of_contrast_theme(**SYSTEM)
    used = {getattr(palette, name) for name in Palette.__dataclass_fields__}
    assert used == set(SYSTEM.values())
    assert (palette.paper, palette.text) == (SYSTEM["window"], SYSTEM["window_text"])
    assert (palette.accent, palette.on_accent) == (SYSTEM["highlight"], SYSTEM["highlight_text"])
    assert (palette.button, palette.button_text) == (SYSTEM["button"], SYSTEM["button_text"])
