"""Ask the person at the terminal, or read standard input, for the commands."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from threading import Thread

MAX_LINE_BYTES = 65_536


def prompt(text: str) -> str:
    """Ask at the terminal, and return the answer. Raise UnicodeDecodeError."""
    print(text, end="", file=sys.stderr, flush=True)
    return line().strip()


def line() -> str:
    """Return a line of standard input in UTF-8, or in UTF-16 as PowerShell writes it.

    The expected text is ASCII, so its UTF-16 has a zero byte beside each character.
    Raise UnicodeDecodeError.
    """
    data = sys.stdin.buffer.readline(MAX_LINE_BYTES) if sys.stdin else b""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        data = data[2:]
    if abs(data.count(0) * 2 - len(data)) <= 1 < len(data):
        data = data.replace(b"\0", b"")
    return data.decode("utf-8-sig").rstrip("\r\n")


def password(text: str) -> str:
    """Return the password: typed unseen at a terminal, else the first line of standard input."""
    if at_terminal():
        import getpass

        return getpass.getpass(text)
    return line()


def at_terminal() -> bool:
    """Return whether a user can type. `isatty` takes NUL on Windows for a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    return (
        sys.platform != "win32"
        or type(getattr(sys.stdin.buffer, "raw", None)).__name__ == "_WindowsConsoleIO"
    )


def agrees(question: str, *, within_s: float) -> bool | None:
    """Return whether the person at the terminal says yes, None without an answer in time.

    Text that was typed before the question is discarded. A thread reads without a buffer, because
    the interpreter could not end with a buffer in use.
    """
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
    else:
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    print(question, end="", file=sys.stderr, flush=True)
    answers: list[bytes] = []
    descriptor = sys.stdin.fileno()
    reader = Thread(target=lambda: answers.append(os.read(descriptor, 100)), daemon=True)
    reader.start()
    reader.join(within_s)
    return answers[0].strip().lower() in {b"y", b"yes"} if answers else None
