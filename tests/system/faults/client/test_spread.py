"""Many clients of a server that ends reconnect spread over time."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from unittest import mock

from agent.core import events as ev
from agent.core.state import State
from agent.core.view import View
from agent.runtime import instant
from bench import machine
from tests.support.fake_gateway import FakeGateway
from tests.support.polling import eventually_async
from tests.support.runtimes import ClientInMemory

CLIENTS = int(os.environ.get("COCONOWORK_CLIENTS", "200"))
SPANS_S = (3.0, 6.0)
"""The longest delays of the first tries; the shortest is a tenth of each."""


class Member:
    """One real client (runtime, machine, connection), with its state and delays."""

    def __init__(self, address: str) -> None:
        self.state = State.CONNECTING
        self.delays: list[float] = []
        """The delays in seconds that the client chose since its last standby."""
        self.runtime = ClientInMemory(address, show=self._show)

    def _show(self, view: View) -> None:
        self.state = view.state
        if view.next_try_at is not None:
            self.delays.append((view.next_try_at - instant().wall).total_seconds())


async def test_clients_of_a_dead_server_come_back_spread_out() -> None:
    """In a round no tenth of the time has over twice its share of tries; all clients reconnect."""
    machine.raise_file_limit()
    loop, gateway, server = asyncio.get_running_loop(), FakeGateway(), AsyncExitStack()
    await server.enter_async_context(gateway.running())
    with mock.patch.object(asyncio, "new_event_loop", return_value=loop):
        members = [Member(gateway.address) for _ in range(CLIENTS)]

    async def live(member: Member) -> None:
        await member.runtime._main(asyncio.all_tasks())

    clients = [asyncio.create_task(live(member)) for member in members]

    async def all_wait() -> bool:
        return all(member.state is State.STANDBY for member in members)

    async def all_have_tried() -> bool:
        return min(len(member.delays) for member in members) >= len(SPANS_S)

    for member in members:
        member.runtime.post(ev.Started())
    await eventually_async(all_wait, within_s=120)
    for member in members:
        member.delays.clear()
    await server.aclose()
    await eventually_async(all_have_tried, within_s=60)
    for number, span_s in enumerate(SPANS_S):
        delays = [member.delays[number] for member in members]
        least_s = span_s / 10
        assert least_s - 0.05 <= min(delays)
        assert max(delays) <= span_s
        tenths = Counter(min(9, int((d - least_s) / (span_s - least_s) * 10)) for d in delays)
        print(f"{least_s:.1f} to {span_s:.0f} s, by tenths: {sorted(tenths.items())}")
        assert max(tenths.values()) <= CLIENTS / 10 * 2
    # No 100 ms of the first round have over 12 % of the tries.
    first = [member.delays[0] for member in members]
    assert max(sum(low <= each < low + 0.1 for each in first) for low in first) <= CLIENTS * 0.12

    async with gateway.running(port=gateway.port):
        for member in members:  # ends the delays
            member.runtime.post(ev.NetworkChanged())
        await eventually_async(all_wait, within_s=120)
        for member in members:
            member.runtime.post(ev.QuitRequested())
        await asyncio.gather(*clients)
