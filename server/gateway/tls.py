"""TLS between a TCP connection and its protocol, for thousands of them at once.

asyncio's and uvloop's own way costs a timer and several layers a connection, twice the CPU for each
ping, and 20 KiB; and it closes at end of file, whoever is to be told something first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, cast

log = logging.getLogger(__name__)

RECORD_BYTES = 16 * 1024
"""The most that one record holds."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The protocol of a TCP transport, and the transport of the protocol above it, which is told of
    the connection before the handshake is done: its deadline counts for both."""

    __slots__ = ("_above", "_below", "_incoming", "_is_shaking_hands", "_outgoing", "_tls")

    def __init__(
        self,
        above: asyncio.Protocol,
        wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
    ) -> None:
        """`wrap` is a context's `wrap_bio`, for the server's side."""
        super().__init__()
        self._above = above
        self._below: asyncio.Transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = wrap(self._incoming, self._outgoing)
        self._is_shaking_hands = True

    # --- called by the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast("asyncio.Transport", transport)
        self._above.connection_made(self)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if self._is_shaking_hands:
                self._tls.do_handshake()
                self._is_shaking_hands = False
            # Asked for more than there is, the library answers by an exception, which costs as much
            # as all the rest.
            while self._incoming.pending or self._tls.pending():
                plain = self._tls.read(RECORD_BYTES)
                if not plain:
                    self.eof_received()
                    break
                self._above.data_received(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            log.info("a client broke TLS: %s", exc.reason)
            self._flush()  # an alert that says so
            self._below.close()
            return
        self._flush()

    def eof_received(self) -> bool | None:
        return self._above.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()

    # --- called by the protocol above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nothing may be written before something was received."""
        try:
            written = self._tls.write(data)
            while written < len(data):
                written += self._tls.write(data[written:])
        except ssl.SSLError as exc:
            log.info("a connection's TLS is broken: %s", exc.reason)
            self.abort()
        else:
            self._flush()

    def can_write_eof(self) -> bool:
        return self._below.can_write_eof()

    def write_eof(self) -> None:
        self._say_goodbye()
        self._below.write_eof()

    def close(self) -> None:
        self._say_goodbye()
        self._below.close()

    def abort(self) -> None:
        self._below.abort()

    def is_closing(self) -> bool:
        return self._below.is_closing()

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)

    def _say_goodbye(self) -> None:
        # It wants to wait for the client's goodbye; or the handshake is not done.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._below.is_closing():
            self._below.write(self._outgoing.read())
