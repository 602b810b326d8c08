"""A D-Bus connection on asyncio: calls, and the signals that match some rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from jeepney import (
    DBusAddress,
    DBusErrorResponse,
    HeaderFields,
    MatchRule,
    Message,
    message_bus,
    new_method_call,
)
from jeepney.io.asyncio import DBusConnection, DBusRouter, Proxy, open_dbus_connection
from jeepney.io.common import RouterClosed
from jeepney.wrappers import unwrap_msg

FAILURES = (OSError, EOFError, ValueError, DBusErrorResponse, RouterClosed)
"""What a call or a connection may raise. TimeoutError is an OSError."""

OnSignal = Callable[[str, str, tuple[Any, ...]], None]
"""Takes the object's path, the signal's name and its arguments."""


class BusClient:
    """`connect`, `call`, `close`; all on one loop. Calls have no time limit of their own."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._router = DBusRouter(connection)
        self._signals: asyncio.Queue[Message] = asyncio.Queue(256)
        self._listener: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls, address: str, rules: Sequence[MatchRule], on_signal: OnSignal
    ) -> BusClient:
        """Raise one of FAILURES, with nothing left open."""
        client = cls(await open_dbus_connection(address))
        try:
            for rule in rules:
                await Proxy(message_bus, client._router).AddMatch(rule)
                # The bus puts unique names for well-known ones; it has matched the sender itself.
                rule.header_fields.pop("sender", None)
                client._router.filter(rule, queue=client._signals)
        except BaseException:
            await client.close()
            raise
        client._listener = asyncio.create_task(client._listen(on_signal))
        return client

    @property
    def is_alive(self) -> bool:
        """Whether the connection stands, as far as we know."""
        return not self._router._rcv_task.done()  # noqa: SLF001 - jeepney does not tell otherwise

    async def call(
        self, service: DBusAddress, method: str, signature: str = "", *body: Any
    ) -> tuple[Any, ...]:
        """The answer's values. Raise one of FAILURES."""
        message = new_method_call(service, method, signature, body)
        reply: tuple[Any, ...] = unwrap_msg(await self._router.send_and_get_reply(message))
        return reply

    async def close(self) -> None:
        """Never raises, and may be called in any state."""
        if self._listener is not None:
            self._listener.cancel()
        with suppress(*FAILURES):
            await self._router.__aexit__(None, None, None)
        with suppress(*FAILURES):
            await self._connection.close()

    async def _listen(self, on_signal: OnSignal) -> None:
        while True:
            message = await self._signals.get()
            fields = message.header.fields
            on_signal(
                str(fields.get(HeaderFields.path, "")),
                str(fields.get(HeaderFields.member, "")),
                message.body,
            )
