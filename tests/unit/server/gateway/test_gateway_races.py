"""Races between logins, changes, deletions and wake-ups, each held at its worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction

from protocol import messages
from server import clock
from server.cluster import bus
from server.console import passwords, people
from server.console.models import AuditEvent, Device, RetiredPassword, User
from server.gateway import records
from server.gateway.queries import DeviceState
from server.gateway.records import RecordedLogin, Refusal, VerifiedProof
from server.gateway.server import Gateway
from tests.support.gateway_client import Client, raw
from tests.support.polling import eventually
from tests.support.server_fixtures import P1, P2, MakeDevice, change, in_thread, on_own_connection

Asked = Sequence[tuple[int, str]]


async def test_change_between_a_login_and_its_welcome(
    gateway: Gateway, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up between the written login and its welcome is not lost."""
    log_in = gateway._store.log_in

    async def then_change(proof: VerifiedProof) -> RecordedLogin | Refusal:
        outcome = await log_in(proof)
        await change(user, P2)
        return outcome

    monkeypatch.setattr(gateway._store, "log_in", then_change)
    async with Client(gateway.port) as client:
        assert (await client.log_in(user.username, P1)).password == "current"
        assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_login_between_reading_and_telling(
    gateway: Gateway, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state read before a login is not sent after it, and no wake-up is lost."""
    read = gateway._store.read_states
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold(asked: Asked) -> list[DeviceState | None]:
        state = await read(asked)
        has_read.set()
        await may_go_on.wait()
        return state

    monkeypatch.setattr(gateway._store, "read_states", hold)
    async with Client(gateway.port) as client, Client(gateway.port) as other:
        await client.log_in(user.username, P1)
        await other.log_in(user.username, P1)
        await in_thread(lambda: bus.publish(user.pk))
        await has_read.wait()
        await change(user, P2)
        assert (await client.log_in(user.username, P2)).password == "current"
        may_go_on.set()
        # The state read is from before the change, so it lacks the password just proven.
        assert (await other.expect(messages.PasswordStatus)).password == "old"
        assert (await client.log_in(user.username, P2)).password == "current"


async def test_password_that_ends_while_the_next_is_being_proven(
    gateway: Gateway, user: User
) -> None:
    """During a login with the next password, the end of the old one sends no `rejected`."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await change(user, P2)
        await client.expect(messages.PasswordStatus)
        scram, challenge = await client.begin(user.username, P2)
        await in_thread(lambda: passwords.end_old_passwords(user, by=user))
        await gateway.sweep()
        await client.prove(scram, challenge)
        assert (await client.expect(messages.Welcome)).password == "current"


async def test_database_trouble_in_a_refresh_is_made_up_for(
    gateway: Gateway, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up that fails with the database is repeated at the next sweep."""
    failed = asyncio.Event()

    async def fail(_asked: Asked) -> list[DeviceState | None]:
        failed.set()
        raise OSError

    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        with monkeypatch.context() as broken:
            broken.setattr(gateway._store, "read_states", fail)
            await change(user, P2)
            await failed.wait()
        await gateway.sweep()
        assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_failed_sweep_is_restarted(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends neither the sweeps nor the gateway, and `/readyz` says so."""
    swept, failures = asyncio.Event(), iter([ValueError("unexpected")])

    async def sweep(_gateway: Gateway) -> None:
        for failure in failures:
            raise failure
        swept.set()

    monkeypatch.setattr(Gateway, "sweep", sweep)
    async with Gateway(sweep_interval_s=0.01) as gateway, Client(gateway.port) as client:
        async with asyncio.timeout(20):
            await swept.wait()
        await client.log_in(user.username, P1)
        async with raw(gateway.port) as (reader, writer):
            writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")


async def test_deleted_user(gateway: Gateway, user: User, administrator: User) -> None:
    """A deleted user's waiting client is disconnected; a login gets an unknown user's answer."""
    async with Client(gateway.port) as waiting, Client(gateway.port) as late:
        await waiting.log_in(user.username, P1)
        scram, challenge = await late.begin(user.username, P1)
        await in_thread(lambda: people.delete(user, by=administrator))
        assert await waiting.receive() == messages.Bye(reason="disabled")
        assert await waiting.closed() == 1008
        await late.prove(scram, challenge)
        assert await late.receive() == messages.Rejected(reason="credentials")


async def test_removed_pc(gateway: Gateway, user: User) -> None:
    """A waiting client whose row is removed must reconnect, and is a new PC then."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        before = await in_thread(lambda: Device.objects.get(user=user))
        await in_thread(before.delete)
        await in_thread(lambda: bus.publish(user.pk))
        assert await client.receive() == messages.Bye(reason="shutting_down")
    async with Client(gateway.port, key=client.key) as again:
        await again.log_in(user.username, P1)
        after = await in_thread(lambda: Device.objects.get(user=user))
    assert after.device_id == before.device_id
    assert after.first_seen_at > before.first_seen_at


@pytest.mark.database("postgresql")  # SQLite has one writer at a time
def test_deleted_while_a_client_reports(
    user: User, administrator: User, make_device: MakeDevice
) -> None:
    """A user's deletion waits for an uncommitted report on a push, without a deadlock."""
    device = make_device(user)
    made = passwords.change_own(user, new_password=P2, push_to=[device])
    failed = messages.UpdateFailed(change_id=made.pk, reason="refused")

    def is_waiting_for_a_lock() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            records.update_failed(device.pk, failed, "192.0.2.1")
            delete = partial(people.delete, user, by=administrator)
            deletion = pool.submit(on_own_connection, delete)
            eventually(is_waiting_for_a_lock)
        deletion.result()
    assert not User.objects.filter(pk=user.pk).exists()
    assert AuditEvent.objects.filter(action="push.failed", subject_name=user.username).exists()


@pytest.mark.database("postgresql")  # SQLite has one writer at a time
def test_what_another_transaction_has_is_tidied_up_later(user: User) -> None:
    """Sweeps skip rows that another transaction has locked, so there is no deadlock."""
    for days in (400, 399):
        until = clock.now() - timedelta(days=days)
        RetiredPassword.objects.create(user=user, verifier="", since=until, valid_until=until)
    old, _ = user.retired_passwords.order_by("valid_until")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        user.retired_passwords.select_for_update().get(pk=old.pk)
        pool.submit(on_own_connection, passwords.tidy_up).result(timeout=10)
        assert list(user.retired_passwords.all()) == [old]
    passwords.tidy_up()
    assert not user.retired_passwords.exists()
