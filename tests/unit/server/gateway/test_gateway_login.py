"""Logging in to a real gateway: every answer that `docs/protocol.md` has for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from protocol import messages
from server import clock, config
from server.console import lockout, passwords
from server.console.models import Device, User
from server.gateway import connection
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.polling import eventually_async
from tests.support.server_fixtures import P1, P2, P3, MakeUser, in_thread, with_settings

CREDENTIALS = messages.Rejected(reason="credentials")


def change(user: User, new_password: str) -> None:
    fresh = User.objects.get(pk=user.pk)
    passwords.change_own(fresh, new_password=new_password, push_to=[], address=None)


async def test_old_passwords_have_each_their_own_end(gateway: Gateway, user: User) -> None:
    """P1, then P2, then P3: all three log in, each old one until 30 days after its own change."""
    start = clock.now()
    await in_thread(lambda: change(user, P2))
    clock.move(timedelta(days=10))
    await in_thread(lambda: change(user, P3))
    async with Client(gateway.port) as client:
        assert (await client.try_log_in(user.username, "wrong")) == CREDENTIALS
        by_p1 = await client.log_in(user.username, P1)
        by_p2 = await client.log_in(user.username, P2)
        by_p3 = await client.log_in(user.username, P3)
    assert [by_p1.password, by_p2.password, by_p3.password] == ["old", "old", "current"]
    assert by_p3.valid_until is None
    assert abs(by_p3.server_time - clock.now()) < timedelta(seconds=5)
    for welcome, days in ((by_p1, 30), (by_p2, 40)):
        assert welcome.valid_until is not None
        assert abs(welcome.valid_until - start - timedelta(days=days)) < timedelta(seconds=30)


@pytest.mark.parametrize("reason", ["expired", "disabled", "blocked"])
async def test_right_password_that_does_not_count(
    gateway: Gateway, user: User, reason: Literal["expired", "disabled", "blocked"]
) -> None:
    """Only a right password gets the reason; another PC of the user is not blocked."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)

    def act() -> None:
        if reason == "expired":
            change(user, P2)
            clock.move(timedelta(days=30, seconds=1))
        elif reason == "disabled":
            User.objects.filter(pk=user.pk).update(is_active=False)
        else:
            devices = Device.objects.filter(device_id=client.device.id)
            devices.update(blocked_at=clock.now())

    await in_thread(act)
    async with Client(gateway.port, key=client.key) as again:
        assert await again.try_log_in(user.username, P3) == CREDENTIALS
        assert await again.try_log_in(user.username, P1) == messages.Rejected(reason=reason)
        assert await again.closed() == 1008
    async with Client(gateway.port) as other:
        answer = await other.try_log_in(user.username, P1)
        assert isinstance(answer, messages.Welcome) is (reason == "blocked")


async def test_wrong_password_three_times(gateway: Gateway, user: User) -> None:
    """Two refusals leave the connection open, a welcome resets the count, the third closes it."""
    async with Client(gateway.port) as client:
        for word in ("wrong", P2, P1, "wrong", "wrong", P1):
            answer = await client.try_log_in(user.username, word)
            assert isinstance(answer, messages.Welcome) is (word == P1)
        for _ in range(3):
            assert await client.try_log_in(user.username, "wrong") == CREDENTIALS
        assert await client.closed() == 1008


async def test_refused_login_leaves_the_standing_one(gateway: Gateway, user: User) -> None:
    """After a refused second login the device still waits by the first."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        assert await client.try_log_in(user.username, P2) == CREDENTIALS
        await in_thread(lambda: change(user, P3))
        assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_unknown_user(gateway: Gateway) -> None:
    """An unknown user gets a salt that is always the same, and the answer for a wrong password."""
    async with Client(gateway.port) as client:
        _, first = await client.begin("unknown-user", P1)
    async with Client(gateway.port) as client:
        scram, second = await client.begin("unknown-user", P1)
        await client.prove(scram, second)
        assert await client.receive() == CREDENTIALS
        _, other = await client.begin("other-unknown-user", P1)

    def salt_and_count(challenge: messages.Challenge) -> list[str]:
        return challenge.scram.split(",")[1:]

    assert salt_and_count(first) == salt_and_count(second)
    assert salt_and_count(first) != salt_and_count(other)
    assert salt_and_count(first)[1] == "i=600000"


async def test_temporary_password_that_has_ended(gateway: Gateway, make_user: MakeUser) -> None:
    """It logs in until its end; then a client that waits loses it, and it is a wrong password."""
    user = await in_thread(lambda: make_user(must_change_password=True))
    days = timedelta(days=config.current().temporary_password_days)
    async with Client(gateway.port) as waiting, Client(gateway.port) as slow:
        assert (await waiting.log_in(user.username, P1)).valid_until is None
        scram, challenge = await slow.begin(user.username, P1)
        clock.move(days)
        await slow.prove(scram, challenge)
        assert await slow.receive() == CREDENTIALS
        assert await slow.try_log_in(user.username, P1) == CREDENTIALS
        await gateway.sweep()
        assert await waiting.receive() == messages.Rejected(reason="expired")
    await in_thread(lambda: change(user, P2))
    async with Client(gateway.port) as client:
        assert (await client.log_in(user.username, P2)).password == "current"
        assert await client.try_log_in(user.username, P1) == messages.Rejected(reason="expired")


async def test_old_client(user: User) -> None:
    """A client older than the least version gets `version`, with the download, at once."""
    newest = messages.Release(version="1.4", url="https://example.com/setup.exe")
    async with (
        Gateway(with_settings(min_client_version="1.3", newest_client=newest)) as gateway,
        Client(gateway.port) as client,
    ):
        await client.send(messages.Hello(scram="n,,n=user,r=nonce", device=client.device))
        assert await client.receive() == messages.Rejected(reason="version", newest=newest)
        assert await client.closed() == 1008


async def test_throttle(gateway: Gateway, user: User) -> None:
    """After so many refusals a right password is not looked at either; another user's is."""
    for _ in range(config.current().refusals_per_device):
        async with Client(gateway.port) as client:
            answer = await client.try_log_in(user.username, "wrong")
            assert answer == CREDENTIALS
    async with Client(gateway.port) as client:
        scram = "n,,n={},r=nonce"
        await client.send(messages.Hello(scram=scram.format(user.username), device=client.device))
        answer = await client.expect(messages.Rejected)
        assert answer.reason == "throttled"
        assert answer.retry_after_s is not None
        assert 1 <= answer.retry_after_s <= 300
        assert await client.closed() == 1008
    async with Client(gateway.port) as client:
        await client.begin("another-user", P1)

    async def logs_in() -> bool:
        async with Client(gateway.port) as client:
            hello = messages.Hello(scram=scram.format(user.username), device=client.device)
            await client.send(hello)
            return isinstance(await client.receive(), messages.Challenge)

    await in_thread(lambda: lockout.unlock(user))
    await eventually_async(logs_in)


async def test_throttle_looks_at_the_proof_again(gateway: Gateway, user: User) -> None:
    """Challenges taken in advance do not get more guesses than the limit."""
    clients = [Client(gateway.port) for _ in range(config.current().refusals_per_device + 1)]
    attempts = []
    for client in clients:
        await client.__aenter__()
        attempts.append(await client.begin(user.username, "wrong"))
    reasons = []
    for client, (scram, challenge) in zip(clients, attempts, strict=True):
        await client.prove(scram, challenge)
        reasons.append((await client.expect(messages.Rejected)).reason)
        await client.__aexit__(None, None, None)
    assert reasons == ["credentials"] * config.current().refusals_per_device + ["throttled"]


async def guess(port: int, username: str) -> str:
    """Send one wrong proof. Return why it was refused."""
    async with Client(port) as client:
        await client.send(messages.Hello(scram=f"n,,n={username},r=x", device=client.device))
        answer = await client.receive()
        if isinstance(answer, messages.Challenge):
            nonce = answer.scram.split(",")[0]
            await client.send(messages.Proof(scram=f"c=biws,{nonce},p=AAAA"))
            answer = await client.receive()
        assert isinstance(answer, messages.Rejected)
        return answer.reason


async def test_guesses_from_an_office(user: User) -> None:
    """Guesses from one address shut out new devices there, but no PC that has logged in before."""
    settings = with_settings(refusals_per_address=5, refusals_per_user=5)
    async with Gateway(settings) as gateway:
        async with Client(gateway.port) as client:
            await client.log_in(user.username, P1)
        for number in range(5):
            assert await guess(gateway.port, f"made-up-{number}") == "credentials"
        assert await guess(gateway.port, user.username) == "throttled"
        async with Client(gateway.port, key=client.key) as known:
            assert (await known.log_in(user.username, P1)).password == "current"


async def test_success_clears_the_count(gateway: Gateway, user: User) -> None:
    """A right password after wrong ones resets the count."""
    for round_ in range(2):
        for _ in range((config.current().refusals_per_device - 1) // 2):
            async with Client(gateway.port) as client:
                await client.try_log_in(user.username, "wrong")
        async with Client(gateway.port) as client:
            for _ in range(2):
                await client.try_log_in(user.username, "wrong")
            assert (await client.log_in(user.username, P1)).password == "current", round_


async def test_time_to_log_in(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a login in time a client is closed, also at its second; with one it may be silent."""
    monkeypatch.setattr(connection, "LOGIN_SECONDS", 0.5)
    async with (
        Gateway() as gateway,
        Client(gateway.port) as slow,
        Client(gateway.port) as client,
    ):
        await client.log_in(user.username, P1)
        await slow.begin(user.username, P1)
        assert await slow.closed() == 1008
        await asyncio.sleep(0.3)
        await client.send(messages.Notice(warning=messages.WarningOutcome.SHOWN, days_left=3))
        await client.log_in(user.username, P1)
        await client.begin(user.username, P1)
        assert await client.closed() == 1008
