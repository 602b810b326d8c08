"""New PCs that show a code: from `pair` to `paired`, each end of a code, limits, attackers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from django.db import OperationalError
from prometheus_client import REGISTRY
from websockets.frames import CloseCode

from protocol import messages
from protocol.pairing import CODE_SECONDS, parse_code
from protocol.sealing import seal
from server import clock
from server.console import passwords
from server.console.models import Pairing, User
from server.gateway import pairings, records
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.server_fixtures import P1, in_thread, until, with_settings

EXPIRED = messages.Rejected(reason="expired")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairings, "POLL_SECONDS", 0.02)


@pytest.fixture
async def showing(gateway: Gateway) -> AsyncIterator[tuple[Client, str]]:
    """Yield a PC that shows a code."""
    async with Client(gateway.port) as client:
        yield client, await client.pair()


def seal_for(user: User, code: str) -> None:
    """Seal a password for the PC that shows a code, as the console does."""
    row = Pairing.objects.get(code=code)
    content = messages.SealedPassword(change_id=row.change_id, device_id=row.device_id, password=P1)
    sealed = seal(content, public_key=row.public_key)
    Pairing.objects.filter(code=code).update(user=user, sealed=sealed)


async def until_deleted(code: str) -> None:
    await until(lambda: not Pairing.objects.filter(code=code).exists())


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("coconowork_pairings_total", {"outcome": outcome}) or 0.0


async def test_password_for_a_code(
    gateway: Gateway, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    """The PC gets user and password once; the row keeps the time, and no secret."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("quiet").setLevel(logging.WARNING)
    before = counted("begun"), counted("delivered")
    async with Client(gateway.port, logger=logging.getLogger("quiet")) as client:
        client.device = msgspec.structs.replace(client.device, name="\u202eevil\n" + "x" * 120)
        code = await client.pair()
        row = await in_thread(lambda: Pairing.objects.get(code=code))
        assert parse_code(code) == code
        assert (row.device_id, row.address) == (client.device.id, "127.0.0.1")
        assert row.name == "evil " + "x" * 120
        left = row.expires_at - clock.now()
        assert timedelta(0) < timedelta(seconds=CODE_SECONDS) - left < timedelta(seconds=5)
        await in_thread(partial(seal_for, user, code))
        paired = await client.expect(messages.Paired)
        assert await client.closed() == 1000
    assert (paired.change_id, paired.user) == (row.change_id, user.username)
    assert client.open(paired.sealed)["password"] == P1
    written = Pairing.objects.filter(code=code, delivered_at__isnull=False, sealed="")
    await until(written.exists)
    await gateway._pairings.poll()  # the next poll does nothing for the closed connection
    assert await in_thread(written.exists)
    assert (counted("begun"), counted("delivered")) == (before[0] + 1, before[1] + 1)
    assert f"has got the password of user {user.pk}" in caplog.text
    for secret in (code, paired.sealed, P1, user.username):
        assert secret not in caplog.text


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_code_ends_with_its_connection(
    showing: tuple[Client, str], user: User, *, is_sealed: bool
) -> None:
    """When the connection ends, the code's row is deleted, also with a password just sealed."""
    client, code = showing
    before = counted("delivered")
    if is_sealed:
        client.socket.transport.abort()
        with suppress(Pairing.DoesNotExist):
            await in_thread(partial(seal_for, user, code))
    else:
        await client.socket.close(CloseCode.NORMAL_CLOSURE, "quit")
    await until_deleted(code)
    assert counted("delivered") == before


@pytest.mark.parametrize("begin", ["pair", "hello", "refused", "logged in"])
async def test_one_purpose(gateway: Gateway, user: User, begin: str) -> None:
    """A connection that shows a code, or has begun a login, is closed when it asks for a code."""
    code = ""
    async with Client(gateway.port) as client:
        if begin == "pair":
            code = await client.pair()
        elif begin == "hello":
            await client.begin(user.username, P1)
        else:
            await client.try_log_in(user.username, P1 if begin == "logged in" else "wrong")
        await client.send(messages.Pair(device=client.device))
        assert await client.closed() == 1008
    await until_deleted(code)


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_code_expires(showing: tuple[Client, str], *, is_deleted: bool) -> None:
    """The PC gets `expired` after 600 s, or at once when its row is gone."""
    client, code = showing
    clock.move(timedelta(seconds=CODE_SECONDS - 20))
    await (await client.socket.ping())
    await asyncio.sleep(5 * pairings.POLL_SECONDS)
    if is_deleted:  # as when its user is deleted
        await in_thread(lambda: Pairing.objects.filter(code=code).delete())
    else:
        clock.move(timedelta(seconds=20))
    assert await client.receive() == EXPIRED
    assert await client.closed() == 1008
    await until_deleted(code)


async def test_password_at_the_last_moment(showing: tuple[Client, str], user: User) -> None:
    """A password sealed before the code's end is delivered, even if the end is noticed first."""
    client, code = showing

    def seal_and_wait() -> None:
        seal_for(user, code)
        clock.move(timedelta(seconds=CODE_SECONDS + 1))

    await in_thread(seal_and_wait)
    await client.expect(messages.Paired)
    assert await client.closed() == 1000


async def test_database_away(
    showing: tuple[Client, str],
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the database fails, PCs with codes wait, logged once; the next poll delivers."""
    client, code = showing
    loop, fails = asyncio.get_running_loop(), asyncio.Semaphore(0)

    def sync_pairings(*_: object, **__: object) -> None:
        loop.call_soon_threadsafe(fails.release)
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(records, "sync_pairings", sync_pairings)
        await in_thread(partial(seal_for, user, code))
        for _ in range(4):
            await fails.acquire()
    await client.expect(messages.Paired)
    assert caplog.text.count("PCs that show a code have to wait") == 1


async def test_gateway_stops(database: None) -> None:
    """A gateway that stops sends the PC `bye` and deletes its row."""
    async with Gateway() as gateway:
        client = await Client(gateway.port).__aenter__()
        code = await client.pair()
    assert (await client.expect(messages.Bye)).reason == "shutting_down"
    assert await client.closed() == 1001
    assert not await in_thread(lambda: Pairing.objects.filter(code=code).exists())


def test_what_a_killed_gateway_leaves(user: User) -> None:
    """Rows of a killed gateway: expired codes go after a minute, delivered ones after a day."""
    new = {"device_id": "d", "public_key": "k", "name": "PC", "os": "o", "version": "1"}
    now = clock.now()
    for code, minutes, sent in (
        ("OPEN", 1, None), ("JUST", 0, None), ("OVER", -2, None),
        ("SENT", -1439, now), ("LONGSENT", -1441, now),
    ):  # fmt: skip
        expires = now + timedelta(minutes=minutes)
        user.pairings.create(code=code, expires_at=expires, delivered_at=sent, **new)
    passwords.tidy_up()
    assert {each.code for each in user.pairings.all()} == {"OPEN", "JUST", "SENT"}


async def test_one_query_for_all_codes(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll asks once for all codes, and a gateway without codes does not ask."""
    asked: list[Collection[str]] = []
    sync = records.sync_pairings

    def sync_pairings(codes: Collection[str], **ended: Collection[str]) -> Any:
        asked.append(codes)
        return sync(codes, **ended)

    monkeypatch.setattr(records, "sync_pairings", sync_pairings)
    await gateway._pairings.poll()
    assert asked == []
    async with Client(gateway.port) as one, Client(gateway.port) as two:
        codes = [await one.pair(), await two.pair()]
        asked.clear()
        await gateway._pairings.poll()
        assert codes in asked


async def test_code_of_another_gateway(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that another gateway's PC shows stays; the new PC gets another code."""
    made = iter(["BCDFGH22", "BCDFGH22", "BCDFGH33", "BCDFGH44", "BCDFGH55"])
    monkeypatch.setattr(pairings, "_new_code", lambda: next(made))
    async with Client(gateway.port) as one, Client(gateway.port) as two:
        assert [await one.pair(), await two.pair()] == ["BCDFGH22", "BCDFGH33"]
        elsewhere = Pairing(code="BCDFGH44", device_id="d", expires_at=clock.now())
        await in_thread(elsewhere.save)
        async with Client(gateway.port) as three:
            assert await three.pair() == "BCDFGH55"
        await until_deleted("BCDFGH55")
        await gateway._pairings.poll()
        await in_thread(elsewhere.refresh_from_db)
        await in_thread(elsewhere.delete)


async def throttled(client: Client) -> int:
    """Ask for a code, which is refused. Return the seconds to wait."""
    await client.send(messages.Pair(device=client.device))
    answer = await client.expect(messages.Rejected)
    assert answer.reason == "throttled"
    return answer.retry_after_s or 0


@pytest.mark.usefixtures("database")
async def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of codes: 10 at once and 30 an hour for a /64, and one for the gateway."""
    settings = with_settings(trusted_proxies=(ip_network("127.0.0.0/8"),))
    numbers = iter(range(1, 1000))

    def pc(network: int = 0) -> Client:
        address = f"2001:db8:0:{network}::{next(numbers)}"
        return Client(gateway.port, additional_headers={"X-Forwarded-For": address})

    async with Gateway(settings) as gateway:
        for _ in range(3):
            async with AsyncExitStack() as stack:
                for _ in range(pairings.MAX_OPEN_PER_ADDRESS):
                    code = await (await stack.enter_async_context(pc())).pair()
                async with pc() as eleventh, pc(1) as elsewhere:
                    assert 590 < await throttled(eleventh) <= 3600
                    await elsewhere.pair()
            await until_deleted(code)
        async with pc() as client:
            assert 3500 < await throttled(client) <= 3600
        async with pc(2) as client:
            await client.pair()
            monkeypatch.setattr(pairings, "MAX_OPEN", 1)
            async with pc(3) as other:
                assert 590 < await throttled(other) <= 600
