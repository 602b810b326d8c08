"""Toasts on a Linux desktop: org.freedesktop.Notifications over D-Bus.

Each toast has a D-Bus connection and a daemon thread of its own, which shows it and then waits for
the signals of a click and of its end.
"""

from __future__ import annotations

import html
import logging
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
from agent.ports import Notification, ToastError, Topic
from protocol.messages import WarningOutcome

log = logging.getLogger(__name__)

APP_NAME = "coconowork client"
CALL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 3.0
_NO_EXPIRY, _USUAL_EXPIRY = 0, -1
"""Milliseconds until the toast goes. 0: it stays until the user closes it or we withdraw it."""
_LOW, _NORMAL = 0, 1
"""Urgencies."""
_BY_USER = 2
"""Why a toast was closed, in the signal NotificationClosed."""

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
        self._shown: dict[Topic, tuple[BoundedConnection, int]] = {}
        """The newest toast about each topic: its connection and its number."""
        self._closed = False

    def show(
        self, notification: Notification, *, on_outcome: Callable[[WarningOutcome], None]
    ) -> None:
        work = (notification, on_outcome)
        threading.Thread(target=self._run, args=work, name="toast", daemon=True).start()

    def withdraw(self, topic: Topic) -> None:
        threading.Thread(target=self._withdraw, args=(topic,), name="withdraw", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for topic in Topic:
            self._withdraw(topic)

    def _run(
        self, notification: Notification, on_outcome: Callable[[WarningOutcome], None]
    ) -> None:
        try:
            connection, shown = self._show(notification)
        except Exception as error:  # noqa: BLE001 - whatever D-Bus raises
            log.warning("D-Bus: %s", getattr(error, "name", None) or type(error).__name__)
            on_outcome(WarningOutcome.FAILED)
            return
        on_outcome(WarningOutcome.SHOWN)
        self._wait_for_end(connection, shown, notification.topic, on_outcome)

    def _show(self, notification: Notification) -> tuple[BoundedConnection, int]:
        """Return the toast's connection and number. Raise ToastError and what D-Bus raises."""
        with self._lock:
            if self._closed:
                raise ToastError("after the end")
            connection = connect(CALL_TIMEOUT_S)
            before = self._shown.get(notification.topic)
            try:
                shown = _notify(
                    connection,
                    notification,
                    replaces=before[1] if before else 0,
                    action=self._action,
                    icon=self._icon.resolve().as_uri() if self._icon else "",
                )
            except BaseException:
                connection.close()
                raise
            if before:
                _hang_up(before[0])
            self._shown[notification.topic] = connection, shown
            return connection, shown

    def _wait_for_end(
        self,
        connection: BoundedConnection,
        shown: int,
        topic: Topic,
        on_outcome: Callable[[WarningOutcome], None],
    ) -> None:
        connection.allow(None)
        with closing(connection), suppress(OSError, EOFError, ValueError):
            while True:
                message: Message = connection.receive()
                if message.body and message.body[0] == shown:
                    member = message.header.fields.get(HeaderFields.member)
                    if member == "ActionInvoked":
                        on_outcome(WarningOutcome.CLICKED)
                    if member == "NotificationClosed":
                        if message.body[1:] == (_BY_USER,):
                            on_outcome(WarningOutcome.DISMISSED)
                        break
        with self._lock:
            if self._shown.get(topic) == (connection, shown):
                del self._shown[topic]

    def _withdraw(self, topic: Topic) -> None:
        with self._lock:
            if topic in self._shown:
                connection, shown = self._shown.pop(topic)
                with suppress(Exception), closing(connect(CLOSE_TIMEOUT_S)) as other:
                    _call(other, "CloseNotification", "u", shown)
                _hang_up(connection)


def _notify(
    connection: BoundedConnection,
    notification: Notification,
    *,
    replaces: int,
    action: str,
    icon: str,
) -> int:
    """Return the number of the toast, which is on the screen."""
    rule = MatchRule(
        type="signal",
        sender=_SERVICE.bus_name,
        interface=_SERVICE.interface,
        path=_SERVICE.object_path,
    )
    Proxy(message_bus, connection).AddMatch(rule)
    (capabilities,) = _call(connection, "GetCapabilities")
    text = notification.text
    quiet = notification.topic is Topic.RECEIVED
    (shown,) = _call(
        connection,
        "Notify",
        "susssasa{sv}i",
        APP_NAME,
        replaces,
        icon,
        notification.title,
        html.escape(text, quote=False) if "body-markup" in capabilities else text,
        ["default", action],
        {
            "urgency": ("y", _LOW if quiet else _NORMAL),
            "desktop-entry": ("s", "coconowork-client"),
        },
        _USUAL_EXPIRY if quiet else _NO_EXPIRY,
    )
    return int(shown)


def _call(
    connection: BoundedConnection, method: str, signature: str = "", *body: Any
) -> tuple[Any, ...]:
    message = new_method_call(_SERVICE, method, signature, body)
    reply: tuple[Any, ...] = unwrap_msg(connection.send_and_get_reply(message))
    return reply


def _hang_up(connection: BoundedConnection) -> None:
    """End the wait of the thread that listens on `connection`."""
    with suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)
