"""Toasts on a Linux desktop: org.freedesktop.Notifications over D-Bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, MatchRule

from agent.linux.bus_client import FAILURES, BusClient
from agent.linux.session_bus import session_bus
from agent.loop_thread import LoopThread
from agent.ports import ToastError

log = logging.getLogger(__name__)

APP_NAME = "coconowork client"
CALL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 3.0
_NEVER = 0
"""Milliseconds after which the toast goes: it stays until it is read or withdrawn."""

_SERVICE = DBusAddress(
    "/org/freedesktop/Notifications",
    bus_name="org.freedesktop.Notifications",
    interface="org.freedesktop.Notifications",
)


def _signals() -> MatchRule:
    return MatchRule(
        type="signal",
        sender=_SERVICE.bus_name,
        interface=_SERVICE.interface,
        path=_SERVICE.object_path,
    )


class NotificationToaster:
    """ports.Toaster. `action` is the label of what a click does; `icon` a picture's path."""

    def __init__(self, action: str, icon: Path | None = None) -> None:
        self._action = action
        self._icon = icon
        self._thread = LoopThread("coconowork-toast")
        self._one_at_a_time = asyncio.Lock()
        self._bus: BusClient | None = None
        self._shown: int | None = None
        self._on_click: Callable[[], None] | None = None

    def show(
        self,
        title: str,
        text: str,
        *,
        on_done: Callable[[Exception | None], None],
        on_click: Callable[[], None],
    ) -> None:
        def done(future: Future[None]) -> None:
            error = ToasterClosed if future.cancelled() else future.exception()
            on_done(None if error is None else ToastError(f"no toast: {_name(error)}"))

        self._thread.submit(self._show(title, text, on_click)).add_done_callback(done)

    def withdraw(self) -> None:
        self._thread.submit(self._withdraw())

    def close(self) -> None:
        self._thread.stop(self._close(), timeout_s=CLOSE_TIMEOUT_S)

    async def _show(self, title: str, text: str, on_click: Callable[[], None]) -> None:
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    self._shown = await self._notify(title, text)
            except BaseException:
                await self._disconnect()
                raise
            self._on_click = on_click

    async def _notify(self, title: str, text: str) -> int:
        bus = await self._connected()
        (capabilities,) = await bus.call(_SERVICE, "GetCapabilities")
        (shown,) = await bus.call(
            _SERVICE,
            "Notify",
            "susssasa{sv}i",
            APP_NAME,
            self._shown or 0,
            self._icon.resolve().as_uri() if self._icon else "",
            title,
            _escaped(text) if "body-markup" in capabilities else text,
            ["default", self._action],
            {"urgency": ("y", 1), "desktop-entry": ("s", "coconowork-client")},
            _NEVER,
        )
        return int(shown)

    async def _withdraw(self) -> None:
        async with self._one_at_a_time:
            if self._bus is not None and self._shown is not None:
                with suppress(*FAILURES):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await self._bus.call(_SERVICE, "CloseNotification", "u", self._shown)
            self._forget()

    async def _close(self) -> None:
        await self._withdraw()
        await self._disconnect()

    async def _connected(self) -> BusClient:
        if self._bus is not None and not self._bus.is_alive:
            await self._disconnect()
        if self._bus is None:
            self._bus = await BusClient.connect(session_bus(), [_signals()], self._on_signal)
        return self._bus

    async def _disconnect(self) -> None:
        bus, self._bus = self._bus, None
        self._forget()
        if bus is not None:
            await bus.close()

    def _on_signal(self, _: str, member: str, body: tuple[Any, ...]) -> None:
        if not body or body[0] != self._shown:
            return
        if member == "ActionInvoked" and self._on_click is not None:
            self._on_click()
        elif member == "NotificationClosed":
            self._forget()

    def _forget(self) -> None:
        self._shown = None
        self._on_click = None


def _escaped(text: str) -> str:
    import html

    return html.escape(text, quote=False)


class ToasterClosed(Exception):
    """The toaster was closed before it could show it."""


def _name(error: BaseException | type[BaseException]) -> str:
    kind = error if isinstance(error, type) else type(error)
    return str(getattr(error, "name", None) or kind.__name__)
