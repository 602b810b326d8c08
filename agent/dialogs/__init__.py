"""The client's windows, each in a short-lived process of its own: `… dialog NAME`."""

from __future__ import annotations

import sys
from gettext import NullTranslations
from typing import get_args

from agent.program import harden

OK, WRONG_USE = 0, 2


def main(name: str, translations: NullTranslations) -> int:
    """Show one window, with pipes to the client as standard streams; return the exit code."""
    harden()
    from agent.dialogs import password, status
    from agent.dialogs.messages import Name
    from agent.dialogs.pipe import Pipe
    from agent.dialogs.window import Window

    names = get_args(Name)
    if name not in names or sys.stdin is None or sys.stdout is None or sys.stdin.isatty():
        return WRONG_USE
    pipe = Pipe(sys.stdin.buffer, sys.stdout.buffer)
    opening = pipe.opening()
    if opening is None:
        return WRONG_USE
    window = Window(opening, pipe, translations)
    (password.View if name == "password" else status.View)(window, opening)
    window.run()
    return OK


def tell(title: str, message: str) -> None:
    """Show a message in a window, and return when the user has closed it; on Windows only."""
    if sys.platform == "win32":
        import ctypes

        icon_error, set_foreground, topmost = 0x10, 0x10000, 0x40000
        style = icon_error | set_foreground | topmost
        ctypes.windll.user32.MessageBoxW(None, message, title, style)
