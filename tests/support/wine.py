"""A Windows desktop to test on: a Wine prefix with a screen, a task bar and a tray.

Imported on Linux only. docs/windows-build.md has the rules for Wine.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from installer.wine import Finished, Wine, windows_path
from installer.winpy.assemble import BUILD, ROOT
from tests.support.polling import eventually

_T = TypeVar("_T")
Language = Literal["ja", "en"]
LOCALES: Mapping[Language, str] = {"ja": "ja_JP", "en": "en_US"}
SCREEN = (1280, 900)
MARLETT = Path("/usr/share/wine/fonts/marlett.ttf")
INSIDE = Path(__file__).parent / "inside"
SHOTS = ROOT / ".artifacts" / "windows"
OLD_VIEW: dict[str, object] = {
    "state": "standby_old_password",
    "server": "wss://gw.example.com/gateway",
    "user": "tanaka",
    "days_left": 30,
    "valid_until": "2026-12-23T03:00:00+00:00",
}
"""The view of a client on an old password, with the fields of `status --json`."""
PYTHON = {
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": windows_path(ROOT),
}
"""The environment of a Windows Python that runs code of this checkout."""


@dataclass(frozen=True)
class Control:
    """A window inside a window; `box` is left, top, right, bottom on the screen."""

    handle: int
    kind: str
    text: str
    box: tuple[int, int, int, int]
    visible: bool
    enabled: bool

    @property
    def middle(self) -> tuple[int, int]:
        left, top, right, bottom = self.box
        return (left + right) // 2, (top + bottom) // 2


@dataclass(frozen=True)
class Window(Control):
    """A top-level window, its program (`exe`, a file name) and its controls."""

    exe: str = ""
    children: list[Control] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Return the texts that can be read in the window."""
        return [text for text in (self.text, *(c.text for c in self.children if c.visible)) if text]


def locale_folder() -> Path:
    """Return a folder with both languages' locales for the C library."""
    folder = BUILD / "locale"
    folder.mkdir(parents=True, exist_ok=True)
    for name in LOCALES.values():
        if not (folder / f"{name}.UTF-8").exists():
            part = folder / f"{os.getpid()}.part"
            command = ["localedef", "-i", name, "-f", "UTF-8", str(part)]
            subprocess.run(command, check=True, capture_output=True)
            with contextlib.suppress(OSError):  # another process was faster
                part.rename(folder / f"{name}.UTF-8")
            shutil.rmtree(part, ignore_errors=True)
    return folder


def wait_for(check: Callable[[], _T | None], what: str | Callable[[], object]) -> _T:
    """Return the first true result of `check`, called 5 times a second for one minute."""
    return eventually(check, or_say=what, within_s=60, pause_s=0.2)


def ask(process: subprocess.Popen[bytes], *request: object, timeout_s: float = 60) -> Any:
    """Send a request to a program of `inside/`. Return its result; raise with its error."""
    assert process.stdin is not None
    assert process.stdout is not None
    if request:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    if not select.select([process.stdout], [], [], timeout_s)[0]:
        raise AssertionError(f"no answer to {request} within {timeout_s:g} s")
    value, error = json.loads(process.stdout.readline())
    assert not error, error
    return value


def _copy(source: str, target: str) -> None:
    """Copy a prefix's file; link programs and libraries of Windows, which never change."""
    if "/drive_c/windows/system32/" in source:
        with contextlib.suppress(OSError):  # on another file system
            os.link(source, target)
            return
    shutil.copy2(source, target)


class Desktop(Wine):
    """One Windows user's PC. Call `start` first and `close` at the end."""

    _insider: subprocess.Popen[bytes]
    """The process of `inside/serve.py`, from sign-in to sign-out."""

    def __init__(self, prefix: Path, winpy: Path, *, display: str, language: Language) -> None:
        locale = f"{LOCALES[language]}.UTF-8"
        super().__init__(
            prefix,
            {
                "DISPLAY": display,
                "LOCPATH": str(locale_folder()),
                "LC_ALL": locale,
                "LANG": locale,
                # The C library and Windows programs both read these.
                "TZ": "JST-9",
            },
        )
        self._winpy = winpy

    # --- programs ---

    def python(self, *arguments: str, timeout_s: float = 60) -> Finished:
        """Run the Windows Python on this checkout, with UTF-8 input and output."""
        exe = windows_path(self._winpy / "python.exe")
        return self.run(exe, *arguments, timeout_s=timeout_s, environment=PYTHON)

    def ask(self, name: str, *arguments: str, timeout_s: float = 60) -> Any:
        """Return the result of a function of `inside/serve.py`, called in its running process."""
        return ask(self._insider, name, *arguments, timeout_s=timeout_s)

    # --- signing in and out ---

    def start(self) -> None:
        """Make the prefix if it is new, and sign in."""
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        if not self.drive_c.exists():
            shutil.copytree(self._template(), self.prefix, symlinks=True, copy_function=_copy)
            # The symbols on a title bar's buttons.
            shutil.copy(MARLETT, self.drive_c / "windows" / "Fonts")
        self.sign_in()

    def _template(self) -> Path:
        """Return the prefix of a new Windows 10 with Japanese fonts and a task bar, made once."""
        template = BUILD / "prefix"
        if not template.exists():
            part = BUILD / f"prefix-{os.getpid()}.part"
            maker = Desktop(part, self._winpy, display=self.environment["DISPLAY"], language="ja")
            maker.boot()
            maker.quiet("winecfg", "/v", "win10")
            for name in ("fonts", "desktop"):
                maker.quiet("regedit", "/S", windows_path(INSIDE / f"{name}.reg"))
            maker.close()
            with contextlib.suppress(OSError):  # another process was faster
                part.rename(template)
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(maker.environment["HOME"], ignore_errors=True)
        return template

    def sign_in(self, *messages: object) -> None:
        """Start a logon session: the task bar, the Run keys, and the Startup folder.

        `messages` are posted as soon as their windows are there; see `post` of `inside/serve.py`.
        """
        self.boot()
        serve = windows_path(INSIDE / "serve.py")
        if messages:
            self.launch(windows_path(self._winpy / "pythonw.exe"), serve, *map(str, messages))
        python = windows_path(self._winpy / "python.exe")
        self._insider = self.launch(python, serve, pipe=subprocess.PIPE)
        # A request for windows while the desktop starts can block for ever.
        ask(self._insider)

    def sign_out(self) -> None:
        """Ask every program to end (WM_QUERYENDSESSION, WM_ENDSESSION), then end the session."""
        self.quiet("wineboot", "--end-session", timeout_s=30)
        self.close()

    # --- what is on the screen ---

    def windows(self) -> list[Window]:
        """Return the visible top-level windows, from front to back."""
        return msgspec.convert(self.ask("windows"), list[Window])

    def window(
        self, *, title: str | None = None, kind: str | None = None, exe: str | None = None
    ) -> Window | None:
        """Return the first visible window with `title` in its title, this class and program."""
        for window in self.windows():
            if (
                (title is None or title in window.text)
                and (kind is None or kind == window.kind)
                and (exe is None or exe.lower() == window.exe.lower())
            ):
                return window
        return None

    def screenshot(self, name: str, *, box: Sequence[int] | None = None) -> Path:
        """Save a screenshot, of `box` or the whole screen. Return its file."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}.png"
        crop: list[str] = []
        if box is not None:
            left, top, right, bottom = box
            crop = ["-crop", f"{right - left}x{bottom - top}+{left}+{top}", "+repage"]
        subprocess.run(
            ["import", "-window", "root", *crop, str(path)], env=self.environment, check=True
        )
        return path

    def xdotool(self, *arguments: str) -> None:
        """Send mouse and key events with xdotool."""
        subprocess.run(["xdotool", *arguments], env=self.environment, check=True)

    def click(self, where: tuple[int, int] | Control, *, button: int = 1, times: int = 1) -> None:
        """Click on a point of the screen or the middle of a control."""
        x, y = where.middle if isinstance(where, Control) else where
        clicks = ["click", "--repeat", str(times), "--delay", "80", str(button)]
        self.xdotool("mousemove", str(x), str(y), "sleep", "0.1", *clicks)

    def type(self, text: str) -> None:
        """Type into the control that has the focus."""
        self.xdotool("type", "--delay", "30", text)

    def key(self, *names: str) -> None:
        """Press keys, such as `Return` or `alt+n`."""
        self.xdotool("key", "--delay", "60", *names)


@contextlib.contextmanager
def signed_in(folder: Path, winpy: Path, display: str, language: Language) -> Iterator[Desktop]:
    """Yield a new Windows in this language in `folder`, signed in."""
    pc = Desktop(folder / "prefix", winpy, display=display, language=language)
    try:
        pc.start()
        yield pc
    finally:
        pc.close()
        shutil.rmtree(pc.prefix)
