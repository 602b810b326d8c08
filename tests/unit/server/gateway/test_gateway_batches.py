"""Requests of many clients to the database at once, and without a database."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import msgspec
import pytest
from django.db import connection, connections, transaction

from protocol import messages
from server import clock
from server.console import passwords
from server.console.models import AuditEvent, Device, Pairing, User
from server.gateway import batcher, queries, store
from server.gateway.batcher import Batcher, Unavailable
from server.gateway.connection import UNAVAILABLE_SECONDS
from server.gateway.records import RecordedLogin, Refusal, VerifiedProof
from server.gateway.server import Gateway
from server.gateway.store import Store
from tests.support.gateway_client import Client, describe, new_key
from tests.support.polling import eventually_async
from tests.support.server_fixtures import P1, P2, P3, MakeUser, in_thread


class Work:
    """Multiply by ten on a thread, once the test lets it; 3 is an error, 7 breaks its batch."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.seen: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.seen.append(list(items))
        self.begun.set()
        self.may_end.wait()
        if 7 in items:
            raise OSError
        return [ValueError(item) if item == 3 else item * 10 for item in items]


async def test_what_waits_makes_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes the waiting items in order, up to its limit; each gets its own result."""
    monkeypatch.setattr(batcher, "MAX_ITEMS", 3)
    monkeypatch.setattr(batcher, "MAX_QUEUED", 8)
    work = Work()
    with ThreadPoolExecutor(1) as executor:
        batches = Batcher(executor, work)
        futures = [batches.submit(0)]
        await asyncio.to_thread(work.begun.wait)
        futures += [batches.submit(item) for item in range(1, 9)]
        with pytest.raises(Unavailable):
            batches.submit(9)
        futures[5].cancel()
        work.may_end.set()
        answers = await asyncio.gather(*futures, return_exceptions=True)
        await batches.close()
    assert work.seen == [[0], [1, 2, 3], [4, 5, 6], [7, 8]]
    assert answers[:3] == [0, 10, 20]
    assert (answers[4], answers[6]) == (40, 60)
    errors = [type(answers[number]) for number in (3, 5, 7, 8)]
    assert errors == [ValueError, asyncio.CancelledError, OSError, OSError]


@pytest.fixture
async def opened_store(database: None) -> AsyncIterator[Store]:
    opened = Store("of the test")
    await opened.open()
    yield opened
    await opened.close()


async def test_members_of_a_batch_get_what_they_would_get_alone(
    opened_store: Store, make_user: MakeUser
) -> None:
    """Every outcome in one batch, and the same again one by one; one device twice in it."""
    made = [await in_thread(make_user) for _ in range(6)]
    plain, disabled, blocked, expired, old, unknown = made
    devices = [describe(new_key()) for _ in made]
    pks = [user.pk for user in made]
    before = [user.password_changed_at for user in made]

    def prepare() -> None:
        User.objects.filter(pk=disabled.pk).update(is_active=False)
        device = {"device_id": devices[2].id, "public_key": devices[2].public_key}
        Device.objects.create(user=blocked, name="x", blocked_at=clock.now(), **device)
        for user in (expired, old):
            row = User.objects.get(pk=user.pk)
            passwords.change_own(row, new_password=P2, push_to=[], address=None)
        passwords.end_old_passwords(User.objects.get(pk=expired.pk), by=expired, address=None)
        unknown.delete()

    await in_thread(prepare)

    def ask(number: int, device: messages.Device) -> asyncio.Future[RecordedLogin | Refusal]:
        proof = VerifiedProof(pks[number], before[number], device, "192.0.2.1", clock.now())
        return opened_store.log_in(proof)

    first = ask(0, describe(new_key()))  # the others wait for it
    await asyncio.sleep(0)
    batch = [ask(number, device) for number, device in enumerate(devices)]
    again = ask(0, devices[0])
    await first
    together = [await each for each in batch]
    kinds = [each if isinstance(each, str) else each.accepted.password for each in together]
    assert kinds == ["current", "disabled", "blocked", "expired", "old", "credentials"]
    assert isinstance(together[4], RecordedLogin)
    until = together[4].accepted.valid_until
    assert until is not None
    assert until - clock.now() > timedelta(days=29)
    assert await again == together[0]
    assert [await ask(number, device) for number, device in enumerate(devices)] == together
    added = AuditEvent.objects.filter(subject=plain, action="device.added")
    assert await in_thread(added.count) == 2


async def test_lookups_of_a_batch(opened_store: Store, make_user: MakeUser) -> None:
    """Verifiers, the newest first, for each name; an unknown one gets a made-up salt."""
    user, other = await in_thread(make_user), await in_thread(make_user)

    def change_twice() -> None:
        for password in (P2, P3):
            row = User.objects.get(pk=user.pk)
            passwords.change_own(row, new_password=password, push_to=[], address=None)

    await in_thread(change_twice)
    names = [user.username, "unknown", other.username, 'quo"te\\', "日本", user.username]
    found = await asyncio.gather(*(opened_store.look_up(name, "0" * 32) for name in names))
    assert [each.user_id for each in found] == [user.pk, None, other.pk, None, None, user.pk]
    assert [len(each.candidates) for each in found] == [3, 1, 1, 1, 1, 3]
    dates = [since for since, _ in found[0].candidates]
    assert dates == sorted(dates, reverse=True)
    assert found[0].candidates == found[5].candidates


async def test_one_bad_member_fails_alone(
    opened_store: Store, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that cannot be written fails alone; the others of its batch succeed."""
    set_waiting = queries.set_waiting

    def choke(waiting: Iterable[queries.WaitingRow]) -> None:
        if any(each.version == "bad" for each in waiting):
            raise ValueError("bad")
        set_waiting(waiting)

    monkeypatch.setattr(queries, "set_waiting", choke)
    devices = [describe(new_key()) for _ in range(4)]
    devices[2] = msgspec.structs.replace(devices[2], version="bad")
    since, now = user.password_changed_at, clock.now()
    proofs = [VerifiedProof(user.pk, since, device, "192.0.2.1", now) for device in devices]
    outcomes = await asyncio.gather(*map(opened_store.log_in, proofs), return_exceptions=True)
    kinds = [type(each) for each in outcomes]
    assert kinds == [RecordedLogin, RecordedLogin, ValueError, RecordedLogin]
    written = Device.objects.filter(user=user, gateway="of the test")
    assert await in_thread(written.count) == 3


@contextmanager
def locked_database() -> Iterator[None]:
    """Keep all others from writing."""
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.close()
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE console_device, console_pairing IN EXCLUSIVE MODE")
        yield


async def test_database_away(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newcomers are sent back for a while, a client that waits stays, what ended is kept."""
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.05)
    if connection.vendor == "sqlite":
        # Else SQLite waits for 20 s before it gives up.
        monkeypatch.setitem(connections["default"].settings_dict["OPTIONS"], "timeout", 0.1)
    locked, unlock = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def lock() -> None:
        with locked_database():
            loop.call_soon_threadsafe(locked.set)
            unlock.wait()

    async def waiting() -> int:
        return await in_thread(user.devices.waiting().count)

    async with (
        Gateway(sweep_interval_s=3600) as gateway,
        Client(gateway.port) as staying,
        Client(gateway.port) as newcomer,
        Client(gateway.port) as other,
    ):
        leaving = await Client(gateway.port).__aenter__()
        await staying.log_in(user.username, P1)
        await leaving.log_in(user.username, P1)
        shows_code = await Client(gateway.port).__aenter__()
        code = await shows_code.pair()
        assert await waiting() == 2
        locking = asyncio.create_task(in_thread(lock))
        await locked.wait()
        try:
            await leaving.__aexit__(None, None, None)
            await shows_code.__aexit__(None, None, None)
            scram, challenge = await newcomer.begin(user.username, P1)
            await newcomer.prove(scram, challenge)
            await other.send(messages.Pair(device=other.device))
            for each in (newcomer, other):
                async with asyncio.timeout(30):
                    bye = messages.decode_from_server(await each.socket.recv(decode=False))
                assert isinstance(bye, messages.Bye)
                assert bye.reason == "shutting_down"
                least, most = UNAVAILABLE_SECONDS
                assert bye.retry_after_s in range(least, most + 1)
                assert await each.closed() == 1013
            await staying.send(messages.Notice(warning=messages.WarningOutcome.SHOWN, days_left=3))
            assert await waiting() == 2
        finally:
            unlock.set()
            await locking

        async def is_true_again() -> bool:
            shown = await in_thread(Pairing.objects.filter(code=code).exists)
            return await waiting() == 1 and not shown

        await eventually_async(is_true_again)
        assert (await staying.log_in(user.username, P1)).password == "current"
