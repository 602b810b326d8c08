"""A gateway's heartbeat, with other gateways' rows in the same database."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

import pytest
from django.db.models import F
from django.db.models.functions import Now

from protocol import messages
from server import clock
from server.console.models import DEAD_AFTER, Device, Gateway, Pairing, User
from server.gateway import heartbeat
from server.gateway.server import Gateway as Running
from tests.support.gateway_client import Client, raw
from tests.support.server_fixtures import P1, MakeDevice, in_thread, until, with_settings


def age(name: str) -> None:
    """Age the heartbeat of gateway `name` so that the gateway counts as dead."""
    before = F("seen_at") - DEAD_AFTER - timedelta(seconds=1)
    Gateway.objects.filter(name=name).update(seen_at=before)


def skip_s(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock of the heartbeat forward."""
    monkeypatch.setattr(heartbeat, "monotonic", lambda: monotonic() + seconds)


async def row(user: User) -> Device:
    """Return the user's device."""
    return await in_thread(Device.objects.with_presence().filter(user=user).get)


async def exists(name: str) -> bool:
    return await in_thread(Gateway.objects.filter(name=name).exists)


async def test_presence_counts_on_live_gateways_only(gateway: Running, user: User) -> None:
    """Pages and pushes count a PC as waiting only while its gateway's heartbeat is recent."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        assert (await row(user)).is_waiting
        await in_thread(lambda: age("gateway"))
        assert not (await row(user)).is_waiting
        assert not await in_thread(user.devices.waiting().exists)
        await gateway.heartbeat.beat()
        assert (await row(user)).is_waiting


async def test_dead_gateway_is_removed_by_another(
    gateway: Running, user: User, make_device: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway removes a dead one's row only once its own heartbeat has been steady as long."""

    def prepare() -> None:
        Gateway.objects.create(name="dead", started_at=Now(), seen_at=Now())
        make_device(user, gateway="dead")
        age("dead")

    await in_thread(prepare)
    await gateway.heartbeat.beat()
    assert await exists("dead")
    skip_s(monkeypatch, DEAD_AFTER.total_seconds())
    await gateway.heartbeat.beat()
    assert not await exists("dead")
    device = await row(user)
    assert (device.waiting_since, device.gateway) == (None, "")


async def test_gateway_that_was_taken_for_dead(gateway: Running, user: User) -> None:
    """A gateway removed by mistake writes its row again, and its clients count as waiting."""
    waiting = user.devices.waiting()
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        since = (await row(user)).waiting_since
        await in_thread(Gateway.objects.filter(name="gateway").delete)
        await in_thread(lambda: user.devices.update(waiting_since=None, gateway=""))
        assert not await in_thread(waiting.exists)
        await gateway.heartbeat.beat()
        await until(waiting.exists)
        assert (await row(user)).waiting_since == since
    await until(lambda: not waiting.exists())


async def test_moved_while_nobody_looked(gateway: Running, user: User) -> None:
    """A client whose row names another gateway gets `superseded`, and the row stays."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(lambda: user.devices.update(gateway="elsewhere"))
        gateway.wake(None)
        assert await client.expect(messages.Bye) == messages.Bye(reason="superseded")
        assert await client.closed() == 1000
    assert (await row(user)).gateway == "elsewhere"


async def test_restart_under_the_same_name(user: User, make_device: MakeDevice) -> None:
    """A restarted gateway clears the waiting clients and codes that its crash left."""
    code = {"device_id": "d", "expires_at": clock.now(), "gateway": "north"}
    sent = Pairing(code="BCDF2222", delivered_at=clock.now(), **code)

    def prepare() -> None:
        make_device(user, gateway="north")
        Pairing(code="BCDF3333", **code).save()
        sent.save()

    await in_thread(prepare)
    async with Running(with_settings(gateway_name="north"), sweep_interval_s=3600):
        assert (await row(user)).waiting_since is None
        assert await in_thread(Pairing.objects.filter(gateway="north").get) == sent
    assert not await exists("north")


async def test_two_of_one_name(gateway: Running, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the operator's mistake of two gateways with one name."""
    async with Running(sweep_interval_s=3600):
        await gateway.heartbeat.beat()
    assert "another gateway has the name gateway as well" in caplog.text


async def test_ready(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that has not reached the database for a while is not ready."""

    async def status() -> bytes:
        async with raw(gateway.port) as (reader, writer):
            writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
            return (await reader.read()).split()[1]

    assert await status() == b"200"
    skip_s(monkeypatch, heartbeat.READY_SECONDS)
    assert await status() == b"503"
    await gateway.heartbeat.beat()
    assert await status() == b"200"


def test_default_name() -> None:
    """A gateway's default name differs by host and port, or by start, and fits its column."""
    assert heartbeat.default_name(8081).endswith(":8081")
    assert heartbeat.default_name(0) != heartbeat.default_name(0)
    assert len(heartbeat.default_name(65_535)) <= 64
