"""Toasts on a Linux desktop: org.freedesktop.Notifications over D-Bus.

Each toast has a D-Bus connection and a daemon thread of its own, which shows it and then waits for
the signals of a click and of its end.
"""

from __future__ import annotations

import html
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, MatchRule, Message, message_bus, new_method_call
from jeepney.io.blocking import Proxy
from jeepney.wrappers import unwrap_msg

from agent.linux.session_bus import BoundedConnection, connect
from agent.ports import ToastError

APP_NAME = "coconowork client"
CALL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 3.0
_NO_EXPIRY = 0
"""Milliseconds until the toast goes: it stays until the user closes it or we withdraw it."""

_SERVICE = DBusAddress(
    "/org/freedesktop/Notifications",
    bus_name="org.freedesktop.Notifications",
    interface="org.freedesktop.Notifications",
)


class NotificationToaster:
    """Implement `agent.ports.Toaster`. `action` is the label of a click, `icon` a picture."""

    def __init__(self, action: str, icon: Path | None = None) -> None:
        self._action = action
        self._icon = icon
        self._lock = threading.Lock()
        """Guards what follows; held while a toast is being shown."""
        self._connection: BoundedConnection | None = None
        self._shown = 0
        self._closed = False

    def show(
        self,
        title: str,
        text: str,
        *,
        on_done: Callable[[Exception | None], None],
        on_click: Callable[[], None],
    ) -> None:
        work = (title, text, on_done, on_click)
        threading.Thread(target=self._run, args=work, name="toast", daemon=True).start()

    def withdraw(self) -> None:
        threading.Thread(target=self._withdraw, name="withdraw", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._withdraw()

    def _run(
        self,
        title: str,
        text: str,
        on_done: Callable[[Exception | None], None],
        on_click: Callable[[], None],
    ) -> None:
        try:
            connection, shown = self._show(title, text)
        except Exception as error:  # noqa: BLE001 - the caller decides what it means
            on_done(ToastError(f"no toast: {getattr(error, 'name', None) or type(error).__name__}"))
            return
        on_done(None)
        self._wait_for_end(connection, shown, on_click)

    def _show(self, title: str, text: str) -> tuple[BoundedConnection, int]:
        """Return the toast's connection and number. Raise ToastError and what D-Bus raises."""
        with self._lock:
            if self._closed:
                raise ToastError("after the end")
            connection = connect(CALL_TIMEOUT_S)
            try:
                shown = self._notify(connection, title, text)
            except BaseException:
                connection.close()
                raise
            _hang_up(self._connection)
            self._connection, self._shown = connection, shown
            return connection, shown

    def _notify(self, connection: BoundedConnection, title: str, text: str) -> int:
        rule = MatchRule(
            type="signal",
            sender=_SERVICE.bus_name,
            interface=_SERVICE.interface,
            path=_SERVICE.object_path,
        )
        Proxy(message_bus, connection).AddMatch(rule)
        (capabilities,) = _call(connection, "GetCapabilities")
        (shown,) = _call(
            connection,
            "Notify",
            "susssasa{sv}i",
            APP_NAME,
            self._shown,
            self._icon.resolve().as_uri() if self._icon else "",
            title,
            html.escape(text, quote=False) if "body-markup" in capabilities else text,
            ["default", self._action],
            {"urgency": ("y", 1), "desktop-entry": ("s", "coconowork-client")},
            _NO_EXPIRY,
        )
        return int(shown)

    def _wait_for_end(
        self, connection: BoundedConnection, shown: int, on_click: Callable[[], None]
    ) -> None:
        connection.allow(None)
        with closing(connection), suppress(OSError, EOFError, ValueError):
            while True:
                message: Message = connection.receive()
                if message.body and message.body[0] == shown:
                    member = message.header.fields.get(HeaderFields.member)
                    if member == "NotificationClosed":
                        break
                    if member == "ActionInvoked":
                        on_click()
        with self._lock:
            if self._connection is connection:
                self._connection, self._shown = None, 0

    def _withdraw(self) -> None:
        with self._lock:
            connection, shown = self._connection, self._shown
            self._connection, self._shown = None, 0
            if connection is not None:
                with suppress(Exception), closing(connect(CLOSE_TIMEOUT_S)) as other:
                    _call(other, "CloseNotification", "u", shown)
                _hang_up(connection)


def _call(
    connection: BoundedConnection, method: str, signature: str = "", *body: Any
) -> tuple[Any, ...]:
    message = new_method_call(_SERVICE, method, signature, body)
    reply: tuple[Any, ...] = unwrap_msg(connection.send_and_get_reply(message))
    return reply


def _hang_up(connection: BoundedConnection | None) -> None:
    """End the wait of the thread that listens on `connection`."""
    if connection is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
