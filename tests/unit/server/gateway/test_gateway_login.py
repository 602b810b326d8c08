"""Logins at a real gateway get every answer that `docs/protocol.md` lists."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from protocol import messages
from server import clock, config
from server.console import hashers, lockout
from server.console.models import User
from server.gateway import connection
from server.gateway.records import made_up
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.polling import eventually_async
from tests.support.server_fixtures import P1, P2, P3, MakeUser, change, in_thread, with_settings

CREDENTIALS = messages.Rejected(reason="credentials")
LIMIT = config.current().refusals_per_device


async def test_old_passwords_have_each_their_own_end(gateway: Gateway, user: User) -> None:
    """After two changes, each old password logs in until 30 days after its own change."""
    start = clock.now()
    await change(user, P2)
    clock.move(timedelta(days=10))
    await change(user, P3)
    async with Client(gateway.port) as client:
        assert (await client.try_log_in(user.username, "wrong")) == CREDENTIALS
        by_p1, by_p2, by_p3 = [await client.log_in(user.username, each) for each in (P1, P2, P3)]
    assert [by_p1.password, by_p2.password, by_p3.password] == ["old", "old", "current"]
    assert by_p3.valid_until is None
    assert abs(by_p3.server_time - clock.now()) < timedelta(seconds=5)
    for welcome, days in ((by_p1, 30), (by_p2, 40)):
        assert welcome.valid_until is not None
        assert abs(welcome.valid_until - start - timedelta(days=days)) < timedelta(seconds=30)


async def test_wrong_password_three_times(gateway: Gateway, user: User) -> None:
    """The third refusal in a row closes the connection; a welcome resets the count.

    After a refusal the device still waits with its last successful login.
    """
    async with Client(gateway.port) as client:
        for word in ("wrong", P2, P1, "wrong", "wrong", P1, "wrong"):
            answer = await client.try_log_in(user.username, word)
            assert isinstance(answer, messages.Welcome) is (word == P1)
        await change(user, P3)
        assert (await client.expect(messages.PasswordStatus)).password == "old"
        for _ in range(2):
            assert await client.try_log_in(user.username, "wrong") == CREDENTIALS
        assert await client.closed() == 1008


async def test_unknown_user(gateway: Gateway) -> None:
    """An unknown user always gets the same salt, and the answer for a wrong password."""
    async with Client(gateway.port) as client:
        _, first = await client.begin("unknown-user", P1)
    async with Client(gateway.port) as client:
        scram, second = await client.begin("unknown-user", P1)
        await client.prove(scram, second)
        assert await client.receive() == CREDENTIALS
        _, other = await client.begin("other-unknown-user", P1)
    (salt, count), *others = [each.scram.split(",")[1:] for each in (first, second, other)]
    assert others[0] == [salt, count]
    assert others[1][0] != salt
    assert (len(b64decode(salt[2:])), count) == (hashers.SALT_BYTES, "i=600000")
    assert made_up("tanaka", b"secret").salt != made_up("tanaka", b"another").salt


async def test_temporary_password_that_has_ended(gateway: Gateway, make_user: MakeUser) -> None:
    """A temporary password logs in until its end; then waiting clients are rejected, too."""
    user = await in_thread(lambda: make_user(must_change_password=True))
    async with Client(gateway.port) as waiting, Client(gateway.port) as slow:
        assert (await waiting.log_in(user.username, P1)).valid_until is None
        scram, challenge = await slow.begin(user.username, P1)
        clock.move(timedelta(days=config.current().temporary_password_days))
        await slow.prove(scram, challenge)
        assert await slow.receive() == CREDENTIALS
        assert await slow.try_log_in(user.username, P1) == CREDENTIALS
        await gateway.sweep()
        assert await waiting.receive() == messages.Rejected(reason="expired")
    await change(user, P2)
    async with Client(gateway.port) as client:
        assert (await client.log_in(user.username, P2)).password == "current"
        assert await client.try_log_in(user.username, P1) == messages.Rejected(reason="expired")


@pytest.mark.parametrize("is_new", [False, True])
async def test_old_client(database: None, *, is_new: bool) -> None:
    """A client older than the oldest allowed version gets `version` and the download at once."""
    newest = messages.Release(version="1.4", url="https://example.com/setup.exe")
    settings = with_settings(min_client_version="1.3", newest_client=newest)
    async with Gateway(settings) as gateway, Client(gateway.port) as client:
        hello = messages.Hello(scram="n,,n=user,r=nonce", device=client.device)
        await client.send(messages.Pair(device=client.device) if is_new else hello)
        assert await client.receive() == messages.Rejected(reason="version", newest=newest)
        assert await client.closed() == 1008


async def guess(gateway: Gateway, username: str) -> messages.Rejected:
    async with Client(gateway.port) as client:
        return await client.prove_wrongly(await client.hello(username))


async def test_throttle(gateway: Gateway, user: User) -> None:
    """After `LIMIT` refusals a user's passwords are not checked, another user's are."""
    for _ in range(LIMIT - 1):
        assert await guess(gateway, user.username) == CREDENTIALS
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
    for _ in range(LIMIT):
        assert await guess(gateway, user.username) == CREDENTIALS
    refused = await guess(gateway, user.username)
    assert refused.reason == "throttled"
    assert refused.retry_after_s in range(1, 301)
    assert await guess(gateway, "another-user") == CREDENTIALS

    async def is_forgotten() -> bool:
        return await guess(gateway, user.username) == CREDENTIALS

    await in_thread(lambda: lockout.unlock(user))
    await eventually_async(is_forgotten)


async def test_throttle_looks_at_the_proof_again(gateway: Gateway) -> None:
    """Challenges requested in advance allow no more guesses than the limit."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(gateway.port)) for _ in range(LIMIT + 1)]
        challenges = [await client.hello("unknown") for client in clients]
        pairs = zip(clients, challenges, strict=True)
        answers = [await client.prove_wrongly(challenge) for client, challenge in pairs]
    assert len({messages.encode(each) for each in challenges}) == LIMIT + 1
    assert [each.reason for each in answers] == ["credentials"] * LIMIT + ["throttled"]


async def test_guesses_from_an_office(user: User) -> None:
    """Guesses from one address lock out new devices there, but no PC that has logged in before."""
    async with Gateway(with_settings(refusals_per_address=5, refusals_per_user=5)) as gateway:
        async with Client(gateway.port) as client:
            await client.log_in(user.username, P1)
        for number in range(5):
            assert await guess(gateway, f"made-up-{number}") == CREDENTIALS
        assert (await guess(gateway, user.username)).reason == "throttled"
        async with Client(gateway.port, key=client.key) as known:
            assert (await known.log_in(user.username, P1)).password == "current"


async def test_time_to_log_in(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that takes too long closes the connection, also a second one; waiting does not."""
    monkeypatch.setattr(connection, "LOGIN_SECONDS", 0.5)
    async with Gateway() as gateway, Client(gateway.port) as slow, Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await slow.begin(user.username, P1)
        assert await slow.closed() == 1008
        await asyncio.sleep(0.3)
        await client.send(messages.Notice(warning=messages.WarningOutcome.SHOWN, days_left=3))
        await client.log_in(user.username, P1)
        await client.begin(user.username, P1)
        assert await client.closed() == 1008
