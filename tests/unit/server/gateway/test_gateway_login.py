"""Logging in to a real gateway: every answer that `docs/protocol.md` has for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from protocol import messages
from server import clock, config
from server.console import passwords
from server.console.models import Device, User
from server.gateway.limits import Limits
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.server_fixtures import P1, P2, P3, in_thread


def change(user: User, new_password: str) -> None:
    fresh = User.objects.get(pk=user.pk)
    passwords.change_own(fresh, new_password=new_password, push_to=[], address=None)


async def test_current_password(gateway: Gateway, user: User) -> None:
    """A right password is welcomed as `current`, and the server proves itself."""
    async with Client(gateway.port) as client:
        welcome = await client.log_in(user.username, P1)
    assert (welcome.password, welcome.valid_until) == ("current", None)
    assert abs(welcome.server_time - clock.now()) < timedelta(seconds=5)


async def test_old_passwords_have_each_their_own_end(gateway: Gateway, user: User) -> None:
    """P1, then P2, then P3: all three log in, each old one until 30 days after its own change."""
    start = clock.now()
    await in_thread(lambda: change(user, P2))
    clock.move(timedelta(days=10))
    await in_thread(lambda: change(user, P3))
    async with Client(gateway.port) as client:
        by_p1 = await client.log_in(user.username, P1)
        by_p2 = await client.log_in(user.username, P2)
        by_p3 = await client.log_in(user.username, P3)
    assert [by_p1.password, by_p2.password, by_p3.password] == ["old", "old", "current"]
    assert by_p1.valid_until is not None
    assert by_p2.valid_until is not None
    seconds = timedelta(seconds=30)
    assert abs(by_p1.valid_until - (start + timedelta(days=30))) < seconds
    assert abs(by_p2.valid_until - (start + timedelta(days=40))) < seconds


async def test_expired_password(gateway: Gateway, user: User) -> None:
    """An old password past its end is `expired`, not wrong; the connection is closed."""
    await in_thread(lambda: change(user, P2))
    clock.move(timedelta(days=30, seconds=1))
    async with Client(gateway.port) as client:
        answer = await client.try_log_in(user.username, P1)
        assert answer == messages.Rejected(reason="expired")
        assert await client.closed() == 1008


async def test_wrong_password_three_times(gateway: Gateway, user: User) -> None:
    """Two refusals leave the connection open, the third closes it."""
    async with Client(gateway.port) as client:
        for _ in range(3):
            answer = await client.try_log_in(user.username, "wrong")
            assert answer == messages.Rejected(reason="credentials")
        assert await client.closed() == 1008


async def test_refusals_in_a_row(gateway: Gateway, user: User) -> None:
    """A welcome in between resets the count."""
    async with Client(gateway.port) as client:
        for _ in range(2):
            for _ in range(2):
                await client.try_log_in(user.username, "wrong")
            await client.log_in(user.username, P1)


async def test_second_of_two_passwords(gateway: Gateway, user: User) -> None:
    """A client that tries a pending password first gets in with the current one."""
    async with Client(gateway.port) as client:
        assert await client.try_log_in(user.username, P2) == messages.Rejected(reason="credentials")
        assert (await client.log_in(user.username, P1)).password == "current"


async def test_refused_login_leaves_the_standing_one(gateway: Gateway, user: User) -> None:
    """After a refused second login the device still waits by the first."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        assert await client.try_log_in(user.username, P2) == messages.Rejected(reason="credentials")
        await in_thread(lambda: change(user, P3))
        assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_unknown_user(gateway: Gateway) -> None:
    """An unknown user gets a salt that is always the same, and the answer for a wrong password."""
    async with Client(gateway.port) as client:
        _, first = await client.begin("unknown-user", P1)
    async with Client(gateway.port) as client:
        scram, second = await client.begin("unknown-user", P1)
        await client.prove(scram, second)
        assert await client.receive() == messages.Rejected(reason="credentials")
        _, other = await client.begin("other-unknown-user", P1)

    def salt_and_count(challenge: messages.Challenge) -> list[str]:
        return challenge.scram.split(",")[1:]

    assert salt_and_count(first) == salt_and_count(second)
    assert salt_and_count(first) != salt_and_count(other)
    assert salt_and_count(first)[1] == "i=600000"


async def test_temporary_password_that_has_ended(
    gateway: Gateway, make_user: Callable[..., User]
) -> None:
    """It logs in until its end; then a client that waits loses it, and it is a wrong password."""
    user = await in_thread(lambda: make_user(must_change_password=True))
    days = timedelta(days=config.current().temporary_password_days)
    async with Client(gateway.port) as waiting, Client(gateway.port) as slow:
        assert (await waiting.log_in(user.username, P1)).valid_until is None
        scram, challenge = await slow.begin(user.username, P1)
        clock.move(days)
        await slow.prove(scram, challenge)
        assert await slow.receive() == messages.Rejected(reason="credentials")
        assert await slow.try_log_in(user.username, P1) == messages.Rejected(reason="credentials")
        await gateway.sweep()
        assert await waiting.receive() == messages.Rejected(reason="expired")
    await in_thread(lambda: change(user, P2))
    async with Client(gateway.port) as client:
        assert (await client.log_in(user.username, P2)).password == "current"
        assert await client.try_log_in(user.username, P1) == messages.Rejected(reason="expired")


async def test_disabled_user(gateway: Gateway, make_user: Callable[..., User]) -> None:
    """`disabled` is said to a right password only."""
    user = await in_thread(lambda: make_user(is_active=False))
    async with Client(gateway.port) as client:
        assert (await client.try_log_in(user.username, P2)) == messages.Rejected(
            reason="credentials"
        )
        assert (await client.try_log_in(user.username, P1)) == messages.Rejected(reason="disabled")
        assert await client.closed() == 1008


async def test_blocked_device(gateway: Gateway, user: User) -> None:
    """A device that the user has disconnected stays out; another one of the same user gets in."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(
            lambda: Device.objects.filter(device_id=client.device.id).update(blocked_at=clock.now())
        )
    async with Client(gateway.port, key=client.key) as again:
        assert (await again.try_log_in(user.username, P2)).reason == "credentials"  # type: ignore[union-attr]  # a Welcome fails here too
        assert (await again.try_log_in(user.username, P1)) == messages.Rejected(reason="blocked")
        assert await again.closed() == 1008
    async with Client(gateway.port) as other:
        await other.log_in(user.username, P1)


async def test_old_client(user: User) -> None:
    """A client older than the least version gets `version` before anything else."""
    async with Gateway(min_client_version="1.3") as gateway, Client(gateway.port) as client:
        await client.send(messages.Hello(scram="n,,n=user,r=nonce", device=client.device))
        assert await client.receive() == messages.Rejected(reason="version")
        assert await client.closed() == 1008


async def test_throttle(gateway: Gateway, user: User) -> None:
    """After so many refusals a right password is not looked at either; another user's is."""
    for _ in range(Limits().refused_per_device):
        async with Client(gateway.port) as client:
            answer = await client.try_log_in(user.username, "wrong")
            assert answer == messages.Rejected(reason="credentials")
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


async def test_throttle_looks_at_the_proof_again(gateway: Gateway, user: User) -> None:
    """Challenges taken in advance do not get more guesses than the limit."""
    clients = [Client(gateway.port) for _ in range(Limits().refused_per_device + 1)]
    attempts = []
    for client in clients:
        await client.__aenter__()
        attempts.append(await client.begin(user.username, "wrong"))
    reasons = []
    for client, (scram, challenge) in zip(clients, attempts, strict=True):
        await client.prove(scram, challenge)
        reasons.append((await client.expect(messages.Rejected)).reason)
        await client.__aexit__(None, None, None)
    assert reasons == ["credentials"] * Limits().refused_per_device + ["throttled"]


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
    limits = Limits(refused_per_address=5, refused_per_user=5)
    async with Gateway(limits=limits) as gateway:
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
        for _ in range((Limits().refused_per_device - 1) // 2):
            async with Client(gateway.port) as client:
                await client.try_log_in(user.username, "wrong")
        async with Client(gateway.port) as client:
            for _ in range(2):
                await client.try_log_in(user.username, "wrong")
            assert (await client.log_in(user.username, P1)).password == "current", round_


async def test_slow_login(user: User) -> None:
    """A client that does not log in in time is closed, even when it sends `hello` before."""
    async with Gateway(limits=Limits(login_s=0.5)) as gateway, Client(gateway.port) as client:
        await client.begin(user.username, P1)
        assert await client.closed() == 1008


async def test_no_deadline_after_login(user: User) -> None:
    """A client that has logged in may be silent."""
    async with Gateway(limits=Limits(login_s=0.5)) as gateway, Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.socket.recv()
        await client.send(messages.Notice(warning="shown", days_left=3))
        await client.log_in(user.username, P1)


async def test_forged_device_id(gateway: Gateway, user: User) -> None:
    """The id must be the hash of the key."""
    async with Client(gateway.port) as client:
        other = Client(0).device
        forged = messages.Device(
            id=other.id, public_key=client.device.public_key, name="x", os="x", version="1"
        )
        await client.send(messages.Hello(scram="n,,n=user,r=nonce", device=forged))
        assert await client.closed() == 1008
