"""A dialog's end of the pipes: a thread reads, and the window polls for what it has read."""

from __future__ import annotations

import contextlib
import queue
import threading
from io import FileIO
from typing import IO

from agent.dialogs import messages as msg

MAX_WAITING = 100  # messages that may wait for the window. Then the pipe itself fills up


class Pipe:
    """Send messages to the client, and keep those from the client until the window takes them."""

    def __init__(self, reading: IO[bytes] | FileIO, writing: IO[bytes] | FileIO) -> None:
        # Unbuffered: a thread that waits inside a buffered reader aborts the interpreter's end.
        self._reading = FileIO(reading.fileno(), closefd=False)
        self._writing = writing
        self._arrived: queue.Queue[msg.FromClient | None] = queue.Queue(MAX_WAITING)

    def opening(self) -> msg.Open | None:
        """Return the client's first message, None when there is none; start to read the others."""
        try:
            message = msg.decode(self._reading.readline(msg.MAX_LINE), msg.FROM_CLIENT)
        except msg.PipeError:
            return None
        if not isinstance(message, msg.Open):
            return None
        threading.Thread(target=self._read, name="pipe", daemon=True).start()
        return message

    def arrived(self) -> list[msg.FromClient | None]:
        """Return the messages since the last call; None among them: the client has ended."""
        return [self._arrived.get_nowait() for _ in range(self._arrived.qsize())]

    def send(self, message: msg.FromDialog) -> None:
        """Send a message to the client; when it has ended, `arrived` reports it."""
        with contextlib.suppress(OSError):
            self._writing.write(msg.encode(message))
            self._writing.flush()

    def _read(self) -> None:
        try:
            while line := self._reading.readline(msg.MAX_LINE):
                self._arrived.put(msg.decode(line, msg.FROM_CLIENT))
        except (msg.PipeError, OSError, ValueError):
            pass
        finally:
            self._arrived.put(None)
