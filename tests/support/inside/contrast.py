"""Run the client with a contrast theme: Wine has its colours, but not its switch."""

from __future__ import annotations

import ctypes
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

from agent.__main__ import main
from agent.dialogs.windows import appearance

BLACK, WHITE, CYAN, GREEN = 0x000000, 0xFFFFFF, 0xFFEB1A, 0x3FF23F
WINDOW, TEXT, HIGHLIGHT, HIGHLIGHT_TEXT, BUTTON, GREY, BUTTON_TEXT = 5, 8, 13, 14, 15, 17, 18
THEME = {
    WINDOW: BLACK, TEXT: WHITE, HIGHLIGHT: CYAN, HIGHLIGHT_TEXT: BLACK,
    BUTTON: BLACK, BUTTON_TEXT: WHITE, GREY: GREEN,
}  # fmt: skip
"""The theme's colours, by the numbers of Windows' SetSysColors."""

numbers = (ctypes.c_int * len(THEME))(*THEME)
ctypes.windll.user32.SetSysColors(
    len(THEME), numbers, (ctypes.c_uint * len(THEME))(*THEME.values())
)
appearance.high_contrast = lambda: True
sys.exit(main())
