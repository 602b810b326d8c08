"""Ask Windows how the user wants windows to look: dark, in high contrast, with larger texts."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import ctypes
import winreg
from ctypes import byref, sizeof, wintypes

from agent.dialogs.palette import DARK, LIGHT, SYSTEM_COLOURS, Appearance, Palette

SPI_GETHIGHCONTRAST, HCF_HIGHCONTRASTON = 0x42, 0x1
DWMWA_USE_IMMERSIVE_DARK_MODE = 20
PERSONALIZE = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
ACCESSIBILITY = r"Software\Microsoft\Accessibility"
LARGEST_TEXT = 225


class _HighContrast(ctypes.Structure):
    """HIGHCONTRASTW."""

    _fields_ = (("size", wintypes.UINT), ("flags", wintypes.DWORD), ("scheme", wintypes.LPWSTR))


def appearance() -> Appearance:
    """Return the user's choice of colours and text size for programs."""
    percent = min(max(_setting(ACCESSIBILITY, "TextScaleFactor", 100), 100), LARGEST_TEXT)
    if high_contrast():
        colours = {name: _system_colour(number) for name, number in SYSTEM_COLOURS.items()}
        return Appearance(Palette(**colours), text_scale=percent / 100)
    dark = not _setting(PERSONALIZE, "AppsUseLightTheme", 1)
    return Appearance(DARK if dark else LIGHT, dark, percent / 100)


def use_system_dpi() -> None:
    """Make Windows scale a window on a monitor whose scale differs from the system's.

    Tk itself scales only once, at its start.
    """
    system_aware = ctypes.c_void_p(-2)
    ctypes.windll.user32.SetThreadDpiAwarenessContext(system_aware)


def darken_frame(window: int) -> None:
    """Make the title bar dark; before Windows 10 2004 it stays light."""
    on = wintypes.BOOL(True)
    ctypes.windll.dwmapi.DwmSetWindowAttribute(
        wintypes.HWND(window), DWMWA_USE_IMMERSIVE_DARK_MODE, byref(on), sizeof(on)
    )


def high_contrast() -> bool:
    """Return whether a contrast theme is on."""
    found = _HighContrast(sizeof(_HighContrast))
    ctypes.windll.user32.SystemParametersInfoW(SPI_GETHIGHCONTRAST, sizeof(found), byref(found), 0)
    return bool(found.flags & HCF_HIGHCONTRASTON)


def _system_colour(number: int) -> str:
    colour: int = ctypes.windll.user32.GetSysColor(number)
    return "#" + colour.to_bytes(4, "little")[:3].hex()


def _setting(key: str, name: str, default: int) -> int:
    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as opened:
            value = winreg.QueryValueEx(opened, name)[0]
    except OSError:
        return default
    return value if isinstance(value, int) else default
