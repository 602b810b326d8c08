"""A screen for tests: Xvfb, and a system tray by the freedesktop.org specification."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import Xlib.display
import Xlib.error
import Xlib.X
from PIL import Image
from Xlib.protocol import event

WAIT_S = 6.0
PAPER = (0xE8, 0xEC, 0xF0)


def until(what: Callable[[], object]) -> None:
    """Wait for it, with a deadline."""
    end = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.02)


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Yields the name of a display of our own."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-noreset", "-screen", "0", "800x600x24"],
        pass_fds=[write],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def xdotool(*arguments: str) -> str:
    """Mouse and keys, as a person's, on $DISPLAY."""
    return subprocess.run(
        ["xdotool", *arguments], check=True, capture_output=True, text=True
    ).stdout


class SystemTray:
    """A panel, in a process of its own, that takes in every icon that asks."""

    SIDE = 24

    def __init__(self) -> None:
        self.icons: list[int] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.x11"], stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            self.icons += map(int, lines)

    def picture(self) -> Image.Image:
        """What can be seen where the first icon is."""
        with connection() as display:
            root = display.screen().root
            raw = root.get_image(0, 0, self.SIDE, self.SIDE, Xlib.X.ZPixmap, 0xFFFFFFFF)
            return Image.frombytes("RGB", (self.SIDE,) * 2, raw.data, "raw", "BGRX")

    def name(self) -> str:
        """The first icon's title."""
        with connection() as display:
            icon = display.create_resource_object("window", self.icons[0])
            atom, kind = map(display.intern_atom, ("_NET_WM_NAME", "UTF8_STRING"))
            found = icon.get_full_property(atom, kind)
            return found.value.decode() if found else ""

    def close(self) -> None:
        """Go, as a panel that crashes does."""
        self._process.kill()
        self._process.wait()
        self._thread.join(WAIT_S)


@contextlib.contextmanager
def connection() -> Iterator[Any]:
    """To $DISPLAY."""
    display = Xlib.display.Display()
    try:
        yield display
    finally:
        display.close()


def be_the_panel() -> None:
    """Own the tray's selection; say the window of each icon that was taken in."""
    with connection() as display:
        screen, manager = display.screen(), display.intern_atom("MANAGER")
        selection = display.intern_atom(f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}")
        opcode = display.intern_atom("_NET_SYSTEM_TRAY_OPCODE")
        red, green, blue = PAPER
        window = screen.root.create_window(
            0, 0, SystemTray.SIDE * 4, SystemTray.SIDE, 0, screen.root_depth,
            background_pixel=red << 16 | green << 8 | blue,
        )  # fmt: skip
        window.map()
        window.set_selection_owner(selection, Xlib.X.CurrentTime)
        announcement = event.ClientMessage(
            window=screen.root,
            client_type=manager,
            data=(32, [Xlib.X.CurrentTime, selection, window.id, 0, 0]),
        )
        screen.root.send_event(announcement, event_mask=Xlib.X.StructureNotifyMask)
        while True:
            try:
                happened = display.next_event()
            except Xlib.error.ConnectionClosedError:
                return
            if happened.type == Xlib.X.ClientMessage and happened.client_type == opcode:
                icon = display.create_resource_object("window", happened.data[1][2])
                icon.change_save_set(Xlib.X.SetModeInsert)
                icon.configure(width=SystemTray.SIDE, height=SystemTray.SIDE)
                icon.reparent(window, 0, 0)
                icon.map()
                display.sync()
                print(icon.id, flush=True)


if __name__ == "__main__":
    be_the_panel()
