"""Stands in for the desktop's password prompt on the tests' own bus: asks, and nobody answers."""

from __future__ import annotations

from threading import Thread
from types import TracebackType

from jeepney import DBus, MessageType, new_method_return
from jeepney.io.blocking import DBusConnection, Proxy, open_dbus_connection

NAME = "org.gnome.keyring.SystemPrompter"


class SilentPrompter:
    """Takes gnome-keyring's prompts and counts them in `asked`."""

    def __init__(self) -> None:
        self.asked = 0
        self._connection: DBusConnection = open_dbus_connection()
        Proxy(DBus(), self._connection, timeout=10).RequestName(NAME)
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> SilentPrompter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import socket

        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    def _serve(self) -> None:
        while True:
            try:
                message = self._connection.receive()
            except (ConnectionError, OSError):
                return
            if message.header.message_type is MessageType.method_call:
                from jeepney import HeaderFields

                if message.header.fields[HeaderFields.member] == "BeginPrompting":
                    self.asked += 1
                self._connection.send(new_method_return(message))
