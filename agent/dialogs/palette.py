"""The colours of the windows: light, dark, or those of a contrast theme of Windows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours as `#rrggbb`. Texts have a contrast of 4.5 : 1 on their ground, edges of 3 : 1."""

    paper: str
    text: str
    quiet: str  # of labels beside values, and of hints
    error: str
    warning: str
    disabled: str
    field: str
    border: str
    accent: str  # of the keyboard focus, of selected text's ground, and of progress
    on_accent: str
    button: str
    button_text: str
    hover: str


LIGHT = Palette(
    paper="#f7f8fa", text="#1f2328", quiet="#5f6368", error="#b3261e", warning="#8a5200",
    disabled="#5f6368", field="#ffffff", border="#7d838b", accent="#0b57d0", on_accent="#ffffff",
    button="#e9ebee", button_text="#1f2328", hover="#dde1e6",
)  # fmt: skip
DARK = Palette(
    paper="#202124", text="#e8eaed", quiet="#bdc1c6", error="#f2b8b5", warning="#ffb95c",
    disabled="#a6acb3", field="#17181a", border="#8b9198", accent="#8ab4f8", on_accent="#202124",
    button="#35363a", button_text="#e8eaed", hover="#46484d",
)  # fmt: skip

_WINDOW, _TEXT, _HIGHLIGHT, _HIGHLIGHT_TEXT, _BUTTON, _GREY, _BUTTON_TEXT = 5, 8, 13, 14, 15, 17, 18
SYSTEM_COLOURS = {
    "paper": _WINDOW, "text": _TEXT, "quiet": _TEXT, "error": _TEXT, "warning": _TEXT,
    "disabled": _GREY, "field": _WINDOW, "border": _TEXT, "accent": _HIGHLIGHT,
    "on_accent": _HIGHLIGHT_TEXT, "button": _BUTTON, "button_text": _BUTTON_TEXT, "hover": _BUTTON,
}  # fmt: skip
"""The palette of a contrast theme, in the numbers that Windows' GetSysColor takes."""


@dataclass(frozen=True)
class Appearance:
    """How the user wants windows to look."""

    palette: Palette = LIGHT
    dark: bool = False  # whether the title bar is dark, too
    text_scale: float = 1.0  # factor for the size of texts, besides the screen's scale
