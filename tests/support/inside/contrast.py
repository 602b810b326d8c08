"""The client's program on a Windows with a contrast theme: Wine has the colours, not the switch."""

from __future__ import annotations

import ctypes
import sys

if sys.platform != "win32":
    raise SystemExit("runs on Windows")

from agent.__main__ import main
from agent.dialogs.windows import appearance

BLACK, WHITE, CYAN, GREEN = 0x000000, 0xFFFFFF, 0xFFEB1A, 0x3FF23F
THEME = {
    "window": BLACK, "window_text": WHITE, "highlight": CYAN, "highlight_text": BLACK,
    "button": BLACK, "button_text": WHITE, "grey_text": GREEN,
}  # fmt: skip

numbers = (ctypes.c_int * len(THEME))(*(appearance.COLOURS[name] for name in THEME))
ctypes.windll.user32.SetSysColors(
    len(THEME), numbers, (ctypes.c_uint * len(THEME))(*THEME.values())
)
appearance.high_contrast = lambda: True
sys.exit(main())
