"""Attackers with a copy of the database, a password, or a forged header."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta

from django.contrib.sessions.models import Session
from django.test import Client as Browser

from protocol import messages
from server import clock
from server.console import passwords
from server.console.hashers import parse_verifier
from server.console.models import AuditEvent, Device, PushDelivery, User
from server.gateway import records
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.server_fixtures import P1, P2, in_thread

# --- a stolen database


async def test_a_stolen_verifier_does_not_log_in(gateway: Gateway, user: User) -> None:
    """The keys in a stolen verifier are not enough to log in."""
    stolen = parse_verifier(user.password)
    for key in (stolen.stored_key, stolen.server_key, hashlib.sha256(stolen.stored_key).digest()):
        async with Client(gateway.port) as thief:
            bare = f"n={user.username},r=nonce-of-a-thief"
            await thief.send(messages.Hello(scram=f"n,,{bare}", device=thief.device))
            challenge = await thief.expect(messages.Challenge)
            nonce = challenge.scram.split(",")[0].removeprefix("r=")
            without_proof = f"c=biws,r={nonce}"
            signed = f"{bare},{challenge.scram},{without_proof}".encode()
            signature = hmac.digest(stolen.stored_key, signed, "sha256")
            proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
            text = f"{without_proof},p={b64encode(proof).decode()}"
            await thief.send(messages.Proof(scram=text))
            assert (await thief.expect(messages.Rejected)).reason == "credentials"


def test_a_stolen_session_opens_nothing(user: User) -> None:
    """A session row from the database opens no page, and a log-out ends a stolen cookie."""
    browser = Browser(SERVER_NAME="localhost")
    browser.force_login(user)
    assert browser.get("/").status_code == 200
    (name, cookie), *_ = browser.cookies.items()
    stored = {row.session_key for row in Session.objects.all()}
    assert cookie.value not in str(list(Session.objects.values()))
    thief = Browser(SERVER_NAME="localhost")
    for key in stored:
        thief.cookies[name] = key
        assert thief.get("/").status_code == 302
    count = Session.objects.count()
    browser.post("/logout/")
    assert Session.objects.count() == count - 1
    thief.cookies[name] = cookie.value
    assert thief.get("/").status_code == 302


# --- a client that is hostile


async def test_the_device_of_another_user(gateway: Gateway, make_user: Callable[..., User]) -> None:
    """Another user with a PC's id and key neither disconnects that PC nor gets its push."""
    victim, attacker = await in_thread(make_user), await in_thread(make_user)
    async with Client(gateway.port) as pc, Client(gateway.port, key=pc.key) as claimed:
        await pc.log_in(victim.username, P1)
        await claimed.log_in(attacker.username, P1)
        rows = await in_thread(lambda: list(Device.objects.filter(device_id=pc.device.id)))
        assert sorted(row.user_id for row in rows) == sorted([victim.pk, attacker.pk])
        device = next(row for row in rows if row.user_id == victim.pk)
        assert device.waiting_since is not None
        await in_thread(lambda: passwords.change_own(victim, new_password=P2, push_to=rows))
        pushed = await pc.expect(messages.PasswordChanged)
        assert await in_thread(
            lambda: list(PushDelivery.objects.filter(change=pushed.change_id))
        ) == [await in_thread(lambda: PushDelivery.objects.get(device=device))]
        # The attacker got no part of the push, and cannot report about it either.
        await claimed.send(messages.UpdateFailed(change_id=pushed.change_id, reason="refused"))
        await claimed.log_in(attacker.username, P1)
        outcome = await in_thread(lambda: PushDelivery.objects.get(device=device).outcome)
        assert outcome == PushDelivery.Outcome.PENDING


async def test_devices_without_number(gateway: Gateway, user: User) -> None:
    """A client that registers device after device is throttled."""

    def fill() -> None:
        for number in range(records.MAX_NEW_DEVICES - 1):
            Device.objects.create(
                user=user, device_id=f"{number:032x}", public_key="A" * 44, name="PC"
            )

    async with Client(gateway.port) as known:
        await known.log_in(user.username, P1)
        await in_thread(fill)
        async with Client(gateway.port) as another:
            answer = await another.try_log_in(user.username, P1)
            assert answer == messages.Rejected(reason="throttled", retry_after_s=3600)
            assert await another.closed() == 1008
        assert (await known.try_log_in(user.username, P1)) is not None
        events = await in_thread(lambda: AuditEvent.objects.filter(subject=user).count())
        assert events == 1
        day_before = clock.now() - timedelta(days=1)
        await in_thread(lambda: Device.objects.filter(user=user).update(first_seen_at=day_before))
        async with Client(gateway.port) as another:
            await another.log_in(user.username, P1)
