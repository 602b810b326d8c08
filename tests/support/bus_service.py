"""Act as a desktop's service on the tests' D-Bus: answer calls, send signals."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from queue import Queue
from threading import Thread
from typing import Any

from jeepney import (
    DBus,
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.io.blocking import DBusConnection, Proxy, open_dbus_connection

Answer = Callable[..., tuple[str, tuple[Any, ...]] | None]
"""Takes a call's arguments; returns signature and values of the answer; None: no answer."""


class BusService:
    """Owns `name` on the bus at `address`. `calls` has each call as (method, arguments)."""

    def __init__(self, address: str, name: str, answers: Mapping[str, Answer]) -> None:
        self.calls: Queue[tuple[str, tuple[Any, ...]]] = Queue()
        self._answers = answers
        self._connection: DBusConnection = open_dbus_connection(address)
        Proxy(DBus(), self._connection, timeout=10).RequestName(name)
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BusService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    def signal(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> None:
        """Send a signal to all listeners."""
        address = DBusAddress(path, interface=interface)
        self._connection.send(new_signal(address, member, signature, body))

    def _serve(self) -> None:
        while True:
            try:
                message = self._connection.receive()
            except OSError:
                return
            if message.header.message_type is MessageType.method_call:
                self._answer(message)

    def _answer(self, message: Message) -> None:
        method = message.header.fields[HeaderFields.member]
        answer = self._answers.get(method)
        if answer is None:
            reply = new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")
        else:
            values = answer(*message.body)
            if values is None:
                self.calls.put((method, message.body))
                return
            reply = new_method_return(message, *values)
        self._connection.send(reply)
        self.calls.put((method, message.body))
