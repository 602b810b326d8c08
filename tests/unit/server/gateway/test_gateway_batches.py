"""Requests of many clients to the database at once, and without a database."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import msgspec
import pytest
from django.db import connection, connections, transaction

from protocol import messages
from server import clock
from server.console import passwords
from server.console.models import AuditEvent, Device, User
from server.gateway import queries, store
from server.gateway.batcher import Batcher, QueueFull
from server.gateway.connection import UNAVAILABLE_SECONDS
from server.gateway.records import RecordedLogin, Refusal, VerifiedProof
from server.gateway.server import Gateway
from server.gateway.store import Store
from tests.support.gateway_client import Client, describe, new_key
from tests.support.polling import eventually_async
from tests.support.server_fixtures import P1, P2, P3, in_thread


async def test_what_waits_makes_the_next_batch() -> None:
    """In order, at most so many at once; each gets its own result, or its own exception."""
    begun, may_end = threading.Event(), threading.Event()
    seen: list[list[int]] = []

    def work(items: Sequence[int]) -> list[int | Exception]:
        seen.append(list(items))
        begun.set()
        may_end.wait()
        return [ValueError(item) if item == 3 else item * 10 for item in items]

    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(executor, work, max_items=3)
        futures = [batcher.submit(0)]
        await asyncio.to_thread(begun.wait)
        futures += [batcher.submit(item) for item in range(1, 6)]
        await asyncio.sleep(0)
        futures[5].cancel()
        may_end.set()
        answers = await asyncio.gather(*futures, return_exceptions=True)
    assert seen == [[0], [1, 2, 3], [4, 5]]
    assert answers[:3] == [0, 10, 20]
    assert isinstance(answers[3], ValueError)
    assert answers[4] == 40
    assert isinstance(answers[5], asyncio.CancelledError)


async def test_a_batch_that_fails_whole() -> None:
    """All its members get the error, and the next batch runs."""

    def work(items: Sequence[int]) -> list[int | Exception]:
        if 1 in items:
            raise OSError
        return list(items)

    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(executor, work, max_items=2)
        answers = await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)
    assert [type(each) for each in answers] == [int, OSError, OSError, int]


async def test_queue_is_bounded() -> None:
    """More items than may wait are refused at once."""
    may_end = threading.Event()

    def work(items: Sequence[int]) -> list[int | Exception]:
        may_end.wait()
        return list(items)

    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(executor, work, max_queued=2)
        futures = [batcher.submit(number) for number in range(3)]
        with pytest.raises(QueueFull):
            batcher.submit(3)
        may_end.set()
        assert await asyncio.gather(*futures) == [0, 1, 2]


@pytest.fixture
def opened_store(database: None) -> Store:
    return Store("of the test")


async def test_members_of_a_batch_get_what_they_would_get_alone(
    opened_store: Store, make_user: Callable[..., User]
) -> None:
    """Every outcome in one batch, and the same again one by one; one device twice in it."""
    made = [await in_thread(make_user) for _ in range(6)]
    plain, disabled, blocked, expired, old, unknown = made
    devices = [describe(new_key()) for _ in made]
    before = {user.pk: user.password_changed_at for user in made}

    def prepare() -> None:
        User.objects.filter(pk=disabled.pk).update(is_active=False)
        row = Device.objects.create(
            user=blocked, device_id=devices[2].id, public_key=devices[2].public_key, name="x"
        )
        Device.objects.filter(pk=row.pk).update(blocked_at=clock.now())
        for user in (expired, old):
            passwords.change_own(
                User.objects.get(pk=user.pk), new_password=P2, push_to=[], address=None
            )
        passwords.end_old_passwords(User.objects.get(pk=expired.pk), by=expired, address=None)
        unknown.delete()

    pks = [user.pk for user in made]
    await in_thread(prepare)
    await opened_store.open()

    def ask(number: int, device: messages.Device) -> asyncio.Future[RecordedLogin | Refusal]:
        proof = VerifiedProof(pks[number], before[pks[number]], device, "192.0.2.1", clock.now())
        return opened_store.log_in(proof)

    first = ask(0, describe(new_key()))  # the others wait for it
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
    added = await in_thread(
        lambda: AuditEvent.objects.filter(subject=plain, action="device.added").count()
    )
    assert added == 2
    await opened_store.close()


async def test_lookups_of_a_batch(opened_store: Store, make_user: Callable[..., User]) -> None:
    """Verifiers, the newest first, for each name; an unknown one gets a made-up salt."""
    user, other = await in_thread(make_user), await in_thread(make_user)

    def change_twice() -> None:
        for password in (P2, P3):
            row = User.objects.get(pk=user.pk)
            passwords.change_own(row, new_password=password, push_to=[], address=None)

    await in_thread(change_twice)
    await opened_store.open()
    names = [user.username, "unknown", other.username, 'quo"te\\', "日本", user.username]
    found = await asyncio.gather(*(opened_store.look_up(name, "0" * 32) for name in names))
    assert [each.user_id for each in found] == [user.pk, None, other.pk, None, None, user.pk]
    assert [len(each.candidates) for each in found] == [3, 1, 1, 1, 1, 3]
    dates = [each.since for each in found[0].candidates]
    assert dates == sorted(dates, reverse=True)
    assert found[0].candidates == found[5].candidates
    await opened_store.close()


async def test_one_bad_member_fails_alone(
    opened_store: Store, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written for one is no trouble for the others of its batch."""
    set_waiting = queries.set_waiting

    def choke(waiting: Sequence[queries.WaitingRow], *, gateway: str) -> None:
        if any(each.version == "bad" for each in waiting):
            raise ValueError("bad")
        set_waiting(waiting, gateway=gateway)

    monkeypatch.setattr(queries, "set_waiting", choke)
    await opened_store.open()
    devices = [msgspec.structs.replace(describe(new_key()), version="1") for _ in range(4)]
    devices[2] = msgspec.structs.replace(devices[2], version="bad")
    outcomes = await asyncio.gather(
        *(
            opened_store.log_in(
                VerifiedProof(user.pk, user.password_changed_at, device, "192.0.2.1", clock.now())
            )
            for device in devices
        ),
        return_exceptions=True,
    )
    kinds = [type(each) for each in outcomes]
    assert kinds == [RecordedLogin, RecordedLogin, ValueError, RecordedLogin]
    count = await in_thread(lambda: Device.objects.filter(user=user, gateway="of the test").count())
    assert count == 3
    await opened_store.close()


@contextmanager
def locked_database() -> Iterator[None]:
    """Keep all others from writing until the end of the block."""
    if connection.vendor == "sqlite":
        with sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                other.execute("ROLLBACK")
        other.close()
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE console_device IN EXCLUSIVE MODE")
        yield


async def test_database_away(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes is sent back for a while, who waits stays, and who goes is written down later."""
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
        return await in_thread(lambda: user.devices.waiting().count())

    async with (
        Gateway(sweep_interval_s=3600) as gateway,
        Client(gateway.port) as staying,
        Client(gateway.port) as newcomer,
    ):
        leaving = await Client(gateway.port).__aenter__()
        await staying.log_in(user.username, P1)
        await leaving.log_in(user.username, P1)
        assert await waiting() == 2
        locking = asyncio.create_task(in_thread(lock))
        await locked.wait()
        try:
            await leaving.__aexit__(None, None, None)
            scram, challenge = await newcomer.begin(user.username, P1)
            await newcomer.prove(scram, challenge)
            async with asyncio.timeout(30):
                bye = messages.decode_from_server(await newcomer.socket.recv(decode=False))
            assert isinstance(bye, messages.Bye)
            assert bye.reason == "shutting_down"
            assert bye.retry_after_s in range(UNAVAILABLE_SECONDS[0], UNAVAILABLE_SECONDS[1] + 1)
            assert await newcomer.closed() == 1013
            await staying.send(messages.Notice(warning="shown", days_left=3))
            assert await waiting() == 2
        finally:
            unlock.set()
            await locking

        async def is_true_again() -> bool:
            return await waiting() == 1

        await eventually_async(is_true_again)
        assert (await staying.log_in(user.username, P1)).password == "current"
