"""Races between logins, changes and wake-ups, each held at its worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from protocol import messages
from server.cluster import bus
from server.console import passwords
from server.console.models import User
from server.gateway.queries import DeviceState
from server.gateway.records import RecordedLogin, Refusal, VerifiedProof
from server.gateway.server import Gateway
from server.gateway.state_reader import StateReader
from server.gateway.store import Store
from tests.support.gateway_client import Client
from tests.support.raw import raw
from tests.support.server_fixtures import P1, P2, in_thread


def change(user: User, new_password: str) -> None:
    fresh = User.objects.get(pk=user.pk)
    passwords.change_own(fresh, new_password=new_password, push_to=[], address=None)


async def test_change_between_a_login_and_its_welcome(
    gateway: Gateway, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up between the written login and its welcome is not lost."""
    log_in = Store.log_in

    async def then_change(store: Store, proof: VerifiedProof) -> RecordedLogin | Refusal:
        outcome = await log_in(store, proof)
        await in_thread(lambda: change(user, P2))
        return outcome

    monkeypatch.setattr(Store, "log_in", then_change)
    async with Client(gateway.port) as client:
        assert (await client.log_in(user.username, P1)).password == "current"
        assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_login_between_reading_and_telling(
    gateway: Gateway, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that was read before a login is not applied after it; no wake-up is lost."""
    read = StateReader.read
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold(
        reader: StateReader, asked: Sequence[tuple[int, str]]
    ) -> list[DeviceState | None]:
        state = await read(reader, asked)
        has_read.set()
        await may_go_on.wait()
        return state

    monkeypatch.setattr(StateReader, "read", hold)
    async with Client(gateway.port) as client, Client(gateway.port) as other:
        await client.log_in(user.username, P1)
        await other.log_in(user.username, P1)
        await in_thread(lambda: bus.publish(user.pk))
        await has_read.wait()
        await in_thread(lambda: change(user, P2))
        assert (await client.log_in(user.username, P2)).password == "current"
        may_go_on.set()
        # For what was read, the password that this client has just proven does not exist.
        assert (await other.expect(messages.PasswordStatus)).password == "old"
        assert (await client.log_in(user.username, P2)).password == "current"


async def test_password_that_ends_during_the_login(gateway: Gateway, user: User) -> None:
    """A password that ends between challenge and proof is refused as `expired`."""
    await in_thread(lambda: change(user, P2))
    async with Client(gateway.port) as client:
        scram, challenge = await client.begin(user.username, P1)
        await in_thread(
            lambda: passwords.end_old_passwords(User.objects.get(pk=user.pk), by=user, address=None)
        )
        await client.prove(scram, challenge)
        assert await client.receive() == messages.Rejected(reason="expired")


async def test_password_that_ends_while_the_next_is_being_proven(
    gateway: Gateway, user: User
) -> None:
    """A `rejected` about the standing password is not taken for the answer to a login."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2))
        await client.expect(messages.PasswordStatus)
        scram, challenge = await client.begin(user.username, P2)
        await in_thread(
            lambda: passwords.end_old_passwords(User.objects.get(pk=user.pk), by=user, address=None)
        )
        await gateway.sweep()
        await client.prove(scram, challenge)
        assert (await client.expect(messages.Welcome)).password == "current"


async def test_database_trouble_in_a_refresh_is_made_up_for(
    gateway: Gateway, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up that could not be worked on is worked on at the next sweep."""
    failed = asyncio.Event()

    async def fail(
        reader: StateReader, asked: Sequence[tuple[int, str]]
    ) -> list[DeviceState | None]:
        failed.set()
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr(StateReader, "read", fail)
        async with Client(gateway.port) as client:
            await client.log_in(user.username, P1)
            await in_thread(lambda: change(user, P2))
            await failed.wait()
            broken.undo()
            await gateway.sweep()
            assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_failed_sweep_is_restarted(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends neither the sweeps nor the gateway, and `/readyz` says so."""
    swept, fails = asyncio.Event(), True

    async def sweep(_gateway: Gateway) -> None:
        nonlocal fails
        if fails:
            fails = False
            raise ValueError("unexpected")
        swept.set()

    monkeypatch.setattr(Gateway, "sweep", sweep)
    async with Gateway(sweep_interval_s=0.01) as gateway, Client(gateway.port) as client:
        async with asyncio.timeout(20):
            await swept.wait()
        await client.log_in(user.username, P1)
        async with raw(gateway.port) as (reader, writer):
            writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
