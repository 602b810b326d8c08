"""The process of one window: its start, the threads at its pipes, its end."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from agent.dialogs import messages as msg
from agent.program import CREATION_FLAGS, program_dir

log = logging.getLogger(__name__)

CLOSE_S = 5.0
MAX_WAITING = 100  # messages that may wait for a window; a working window leaves only a few

_PASSED_ON = {
    "COCONOWORK_HOME", "COCONOWORK_LANGUAGE", "HOME", "PATH", "TZ", "LANG", "LANGUAGE",
    "DISPLAY", "XAUTHORITY", "XMODIFIERS", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH", "TCL_LIBRARY", "TK_LIBRARY",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
    "PROGRAMDATA", "COMSPEC", "PATHEXT", "USERNAME", "USERDOMAIN",
}  # fmt: skip
_PASSED_ON_BEGINNINGS = ("LC_", "PYTHON", "_PYI_", "WINE", "FONTCONFIG_", "XCURSOR_")


def window_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a window's process: screen, language, place of the settings.

    The addresses of keyring and sockets and a proxy's login are left out.
    """
    return {
        name: value
        for name, value in environ.items()
        if name.upper() in _PASSED_ON or name.upper().startswith(_PASSED_ON_BEGINNINGS)
    }


class WindowProcess:
    """One window's process, with the threads that write to it and answer it."""

    def __init__(
        self,
        name: msg.Name,
        command: list[str],
        answer: Callable[[msg.FromDialog], msg.FromClient | None],
        *,
        on_closed: Callable[[], None],
    ) -> None:
        self.name = name
        self._on_closed = on_closed
        self._answer = answer
        self._outgoing: queue.Queue[msg.FromClient | None] = queue.Queue(MAX_WAITING)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=CREATION_FLAGS,
            cwd=program_dir(),
            env=window_environment(os.environ),
        )
        if sys.platform == "win32":
            import ctypes

            # After a click, Windows lets this process pass the right to come to the front.
            ctypes.windll.user32.AllowSetForegroundWindow(self._process.pid)
        for work in (self._write, self._serve):
            threading.Thread(target=work, name=f"dialog-{name}", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: msg.FromClient) -> None:
        """Queue a message, and return at once. Do nothing when the window is closed."""
        if self.alive:
            self._put(message)

    def hang_up(self) -> None:
        self._put(None)

    def _put(self, message: msg.FromClient | None) -> None:
        """Queue a message; kill a window that does not read its messages."""
        try:
            self._outgoing.put_nowait(message)
        except queue.Full:
            log.error("the window %s hangs", self.name)  # noqa: TRY400 - queue.Full says no more
            self._process.kill()

    def close(self) -> None:
        """Ask the window to close, and kill its process when it does not."""
        self.hang_up()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError), self._process.stdin as writing:
            while (message := self._outgoing.get()) is not None:
                writing.write(msg.encode(message))
                writing.flush()

    def _serve(self) -> None:
        """Answer the window's messages until it is closed."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as reading:
            try:
                while line := reading.readline(msg.MAX_LINE):
                    reply = self._answer(msg.decode(line, msg.FROM_DIALOG))
                    if reply is not None:
                        self.send(reply)
            except msg.PipeError as error:
                log.error("the window %s: %s", self.name, error)  # noqa: TRY400 - it quotes nothing
            except Exception:
                log.exception("the window %s", self.name)
        self._on_closed()
        self.close()
        if self._process.returncode:
            log.error("the window %s has ended with %d", self.name, self._process.returncode)
