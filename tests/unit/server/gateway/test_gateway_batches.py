"""Database requests of many clients in one batch, and a database that does not answer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from protocol import messages
from server import clock
from server.console import passwords
from server.console.models import AuditEvent, Device, Pairing, User
from server.gateway import batcher, queries, store
from server.gateway.batcher import Batcher, Unavailable
from server.gateway.connection import UNAVAILABLE_SECONDS
from server.gateway.records import RecordedLogin, VerifiedProof
from server.gateway.server import Gateway
from server.gateway.store import Store
from tests.support.gateway_client import Client, describe, new_key
from tests.support.server_fixtures import P1, P2, P3, MakeUser, change, in_thread, until


class Work:
    """Multiply items by ten, when the test allows; 3 is that item's error, 7 fails its batch."""

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
    kinds = [each if isinstance(each, int) else type(each) for each in answers]
    cancelled = asyncio.CancelledError
    assert kinds == [0, 10, 20, ValueError, 40, cancelled, 60, OSError, OSError]


@pytest.fixture
async def opened_store(database: None) -> AsyncIterator[Store]:
    opened = Store("of the test")
    await opened.open()
    yield opened
    await opened.close()


def right_proof(user: User, device: messages.Device) -> VerifiedProof:
    """Return a proof by the password that the user had when the row was read."""
    return VerifiedProof(user.pk, user.password_changed_at, device, "192.0.2.1", clock.now())


async def test_members_of_a_batch_get_what_they_would_get_alone(
    opened_store: Store, make_user: MakeUser
) -> None:
    """Logins with every outcome get the same in one batch, with a device twice, as alone."""
    made = [await in_thread(make_user) for _ in range(6)]
    devices = [describe(new_key()) for _ in made]
    proofs = [right_proof(*each) for each in zip(made, devices, strict=True)]
    plain, disabled, blocked, expired, old, unknown = made

    def prepare() -> None:
        User.objects.filter(pk=disabled.pk).update(is_active=False)
        device = {"device_id": devices[2].id, "public_key": devices[2].public_key}
        Device.objects.create(user=blocked, name="x", blocked_at=clock.now(), **device)
        for user in (expired, old):
            passwords.change_own(user, new_password=P2, push_to=[])
        passwords.end_old_passwords(expired, by=expired)
        unknown.delete()

    await in_thread(prepare)
    first = opened_store.log_in(right_proof(plain, describe(new_key())))  # occupies the batcher
    await asyncio.sleep(0)
    batch = [opened_store.log_in(each) for each in [*proofs, proofs[0]]]
    await first
    *together, again = [await each for each in batch]
    kinds = [each if isinstance(each, str) else each.accepted.password for each in together]
    assert kinds == ["current", "disabled", "blocked", "expired", "old", "credentials"]
    assert isinstance(together[4], RecordedLogin)
    until = together[4].accepted.valid_until
    assert until is not None
    assert until - clock.now() > timedelta(days=29)
    assert again == together[0]
    assert [await opened_store.log_in(each) for each in proofs] == together
    added = AuditEvent.objects.filter(subject=plain, action="device.added")
    assert await in_thread(added.count) == 2


async def test_lookups_of_a_batch(opened_store: Store, make_user: MakeUser) -> None:
    """Each name gets its verifiers, the newest first; an unknown name gets a made-up salt."""
    user, other = await in_thread(make_user), await in_thread(make_user)
    for password in (P2, P3):
        await change(user, password)
    names = [user.username, "unknown", other.username, 'quo"te\\', "日本", user.username]
    found = await asyncio.gather(*(opened_store.look_up((name, "0" * 32)) for name in names))
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
    devices = [describe(new_key(), version=each) for each in ("1", "1", "bad", "1")]
    proofs = [right_proof(user, device) for device in devices]
    outcomes = await asyncio.gather(*map(opened_store.log_in, proofs), return_exceptions=True)
    kinds = [type(each) for each in outcomes]
    assert kinds == [RecordedLogin, RecordedLogin, ValueError, RecordedLogin]
    assert await in_thread(user.devices.filter(gateway="of the test").count) == 3


@contextmanager
def locked_database() -> Iterator[None]:
    """Lock the database against all other writers."""
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
    """While writes fail, new logins get a retry time, waiting clients stay, no end is lost."""
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.05)
    if connection.vendor == "sqlite":
        # Without this, SQLite waits 20 s before it raises.
        monkeypatch.setitem(connections["default"].settings_dict["OPTIONS"], "timeout", 0.1)
    locked, unlock = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def lock() -> None:
        with locked_database():
            loop.call_soon_threadsafe(locked.set)
            unlock.wait()

    async def waiting() -> int:
        return await in_thread(user.devices.waiting().count)

    async with Gateway(sweep_interval_s=3600) as gateway, AsyncExitStack() as stack:
        staying, leaving, shows_code, newcomer, other = [
            await stack.enter_async_context(Client(gateway.port)) for _ in range(5)
        ]
        await staying.log_in(user.username, P1)
        await leaving.log_in(user.username, P1)
        code = await shows_code.pair()
        assert await waiting() == 2
        locking = asyncio.create_task(in_thread(lock))
        await locked.wait()
        try:
            await leaving.socket.close()
            await shows_code.socket.close()
            await newcomer.prove(*await newcomer.begin(user.username, P1))
            await other.send(messages.Pair(device=other.device))
            for each in (newcomer, other):
                async with asyncio.timeout(30):
                    bye = messages.decode_from_server(await each.socket.recv(decode=False))
                assert isinstance(bye, messages.Bye)
                least, most = UNAVAILABLE_SECONDS
                assert bye.retry_after_s in range(least, most + 1)
                assert (bye.reason, await each.closed()) == ("shutting_down", 1013)
            await staying.send(messages.Notice(warning=messages.WarningOutcome.SHOWN, days_left=3))
            assert await waiting() == 2
        finally:
            unlock.set()
            await locking

        await until(lambda: not Pairing.objects.filter(code=code).exists())
        await until(lambda: user.devices.waiting().count() == 1)
        assert (await staying.log_in(user.username, P1)).password == "current"
