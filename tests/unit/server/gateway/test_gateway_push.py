"""What waiting clients are told when a user changes, and what the server keeps of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from nacl.exceptions import CryptoError

from protocol import messages
from server import clock
from server.cluster import bus
from server.console import passwords, presence
from server.console.models import (
    AuditEvent,
    Device,
    PasswordChange,
    PushDelivery,
    RetiredPassword,
    User,
)
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.polling import eventually_async
from tests.support.server_fixtures import P1, P2, P3, in_thread


def change(user: User, new_password: str, *clients: Client) -> PasswordChange:
    """As the pages do it, pushed to these clients' devices."""
    fresh = User.objects.get(pk=user.pk)
    devices = Device.objects.filter(device_id__in=[client.device.id for client in clients])
    return passwords.change_own(
        fresh, new_password=new_password, push_to=list(devices), address="192.0.2.1"
    )


def deliveries(user: User) -> list[tuple[str, str, str]]:
    """Outcome, sealed box and failure of each push, the latest last."""
    rows = PushDelivery.objects.filter(change__user=user).order_by("change__changed_at", "pk")
    return [(row.outcome, row.sealed, row.failure) for row in rows]


def device_row(client: Client) -> Device:
    return Device.objects.with_presence().get(device_id=client.device.id)


async def test_push_is_sealed_and_proven_by_login(gateway: Gateway, user: User) -> None:
    """The device opens the box, logs in with what is in it, and only then counts as applied."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        made = await in_thread(lambda: change(user, P2, client))
        pushed = await client.expect(messages.PasswordChanged)
        assert pushed.change_id == made.pk
        assert pushed.valid_until == made.old_valid_until
        assert P2 not in pushed.sealed
        opened = client.open(pushed.sealed)
        assert opened == {"change_id": made.pk, "device_id": client.device.id, "password": P2}
        [(outcome, sealed, _)] = await in_thread(lambda: deliveries(user))
        assert (outcome, sealed) == ("pending", pushed.sealed)
        assert (await client.log_in(user.username, P2)).password == "current"
        assert await in_thread(lambda: deliveries(user)) == [("applied", "", "")]
        events = await in_thread(
            lambda: list(AuditEvent.objects.filter(subject=user).order_by("at", "id"))
        )
        assert [event.action for event in events] == [
            "device.added",
            "password.changed",
            "push.applied",
        ]
        assert events[2].detail == {"device": "PC-1", "change": made.pk}


async def test_only_the_device_can_open_it(gateway: Gateway, user: User) -> None:
    """Two devices get boxes of their own."""
    async with Client(gateway.port) as one, Client(gateway.port) as two:
        await one.log_in(user.username, P1)
        await two.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2, one, two))
        for_one = await one.expect(messages.PasswordChanged)
        for_two = await two.expect(messages.PasswordChanged)
        assert one.open(for_one.sealed)["password"] == two.open(for_two.sealed)["password"] == P2
        with pytest.raises(CryptoError):
            two.open(for_one.sealed)


async def test_push_comes_again_until_proven(gateway: Gateway, user: User) -> None:
    """A connection that drops loses nothing: each login by the old password brings the push."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2, client))
        first = await client.expect(messages.PasswordChanged)
    for _ in range(2):
        async with Client(gateway.port, key=client.key) as again:
            assert (await again.log_in(user.username, P1)).password == "old"
            assert await again.expect(messages.PasswordChanged) == first
    async with Client(gateway.port, key=client.key) as last:
        assert (await last.log_in(user.username, P2)).password == "current"
        # No push comes any more: the next message is the answer to this login.
        assert (await last.log_in(user.username, P1)).password == "old"
        await last.log_in(user.username, P2)


async def test_pushed_once_per_login(gateway: Gateway, user: User) -> None:
    """Further wake-ups do not send the same push to the same login."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2, client))
        await client.expect(messages.PasswordChanged)
        await in_thread(lambda: bus.publish(user.pk))
        await in_thread(lambda: bus.publish(user.pk))
        await in_thread(lambda: change(user, P3))
        # P2's push is void. P1's own end has not moved, so there is nothing to say of it.
        assert (await client.log_in(user.username, P2)).password == "old"


async def test_others_get_password_status(gateway: Gateway, user: User) -> None:
    """A device that was not chosen is sent that its password is old, and until when it works."""
    async with Client(gateway.port) as chosen, Client(gateway.port) as other:
        await chosen.log_in(user.username, P1)
        await other.log_in(user.username, P1)
        made = await in_thread(lambda: change(user, P2, chosen))
        status = await other.expect(messages.PasswordStatus)
        assert (status.password, status.valid_until) == ("old", made.old_valid_until)
        await chosen.expect(messages.PasswordChanged)
        row = await in_thread(lambda: device_row(other))
        assert (row.login_password, row.login_valid_until) == ("old", made.old_valid_until)


async def test_chain_of_changes(gateway: Gateway, user: User) -> None:
    """P1, P2 pushed, P3 pushed before P2 was taken: the device gets P3, and P2's box is void."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        first = await in_thread(lambda: change(user, P2, client))
        await client.expect(messages.PasswordChanged)
        second = await in_thread(lambda: change(user, P3, client))
        pushed = await client.expect(messages.PasswordChanged)
        assert pushed.change_id == second.pk
        # What it replaces on this device is P1, whose end the first change set.
        assert pushed.valid_until == first.old_valid_until
        assert [each[:2] for each in await in_thread(lambda: deliveries(user))] == [
            ("superseded", ""),
            ("pending", pushed.sealed),
        ]
        assert (await client.log_in(user.username, P2)).password == "old"
        assert (await client.expect(messages.PasswordChanged)).change_id == second.pk
        assert (await client.log_in(user.username, P3)).password == "current"
    assert [each[0] for each in await in_thread(lambda: deliveries(user))] == [
        "superseded",
        "applied",
    ]


async def test_update_failed_ends_the_push(gateway: Gateway, user: User) -> None:
    """A client that cannot take it says so; the box is emptied and it is not sent again."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        made = await in_thread(lambda: change(user, P2, client))
        await client.expect(messages.PasswordChanged)
        await client.send(messages.UpdateFailed(change_id=made.pk, reason="unreadable"))
        # Another device's change is none of its business.
        await client.send(messages.UpdateFailed(change_id="0" * 32, reason="unreadable"))
        await client.log_in(user.username, P1)
        assert await in_thread(lambda: deliveries(user)) == [("failed", "", "unreadable")]
        assert (await client.log_in(user.username, P2)).password == "current"


async def test_a_locked_keyring_is_no_end_of_the_push(gateway: Gateway, user: User) -> None:
    """The page says that it failed, and the next login gets it again, until it is proven."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        made = await in_thread(lambda: change(user, P2, client))
        pushed = await client.expect(messages.PasswordChanged)
        await client.send(messages.UpdateFailed(change_id=made.pk, reason="vault"))
        await client.log_in(user.username, P1)
        assert await client.expect(messages.PasswordChanged) == pushed
        assert await in_thread(lambda: deliveries(user)) == [("pending", pushed.sealed, "vault")]
        [shown] = await in_thread(lambda: presence.deliveries(made))
        assert shown.state == "failed"
        assert (await client.log_in(user.username, P2)).password == "current"
        assert await in_thread(lambda: deliveries(user)) == [("applied", "", "")]


async def test_foreign_update_failed(
    gateway: Gateway, user: User, make_user: Callable[..., User]
) -> None:
    """A device cannot end the push to a device of another user."""
    other = await in_thread(make_user)
    async with Client(gateway.port) as client, Client(gateway.port) as stranger:
        await client.log_in(user.username, P1)
        await stranger.log_in(other.username, P1)
        made = await in_thread(lambda: change(user, P2, client))
        await stranger.send(messages.UpdateFailed(change_id=made.pk, reason="refused"))
        await stranger.log_in(other.username, P1)
        assert [each[0] for each in await in_thread(lambda: deliveries(user))] == ["pending"]


async def test_forced_change(gateway: Gateway, user: User, administrator: User) -> None:
    """Nothing is pushed: the waiting client is sent that its password is old now."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        made = await in_thread(
            lambda: passwords.force(
                User.objects.get(pk=user.pk),
                by=administrator,
                new_password=P2,
                must_change=True,
                address=None,
            )
        )
        status = await client.expect(messages.PasswordStatus)
        assert status.valid_until == made.old_valid_until
    assert await in_thread(lambda: deliveries(user)) == []


async def test_live_connection_expires(gateway: Gateway, user: User) -> None:
    """When the old password ends, the sweep tells the waiting client and closes it."""
    async with Client(gateway.port) as client, Client(gateway.port) as proven:
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2))
        await client.expect(messages.PasswordStatus)
        await proven.log_in(user.username, P2)
        clock.move(timedelta(days=30) - timedelta(minutes=1))
        await gateway.sweep()
        clock.move(timedelta(minutes=2))
        await gateway.sweep()
        assert await client.expect(messages.Rejected) == messages.Rejected(reason="expired")
        assert await client.closed() == 1008
        assert (await proven.log_in(user.username, P2)).password == "current"


async def test_sweep_voids_the_push(gateway: Gateway, user: User) -> None:
    """A sealed password is deleted when no login can fetch it any more."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2, client))
        await client.expect(messages.PasswordChanged)
    clock.move(timedelta(days=31))
    await gateway.sweep()
    assert await in_thread(lambda: deliveries(user)) == [("expired", "", "")]


async def test_old_passwords_ended_early(gateway: Gateway, user: User) -> None:
    """After a theft: who waits by an old password is sent away at once, without a sweep."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2, client))
        await client.expect(messages.PasswordChanged)
        ended = await in_thread(
            lambda: passwords.end_old_passwords(User.objects.get(pk=user.pk), by=user, address=None)
        )
        assert ended == 1
        assert (await client.expect(messages.Rejected)).reason == "expired"
        assert await client.closed() == 1008
    async with Client(gateway.port) as again:
        assert await again.try_log_in(user.username, P1) == messages.Rejected(reason="expired")
    assert await in_thread(lambda: deliveries(user)) == [("expired", "", "")]


@pytest.mark.parametrize("reason", ["disabled", "blocked"])
async def test_sent_away_while_waiting(gateway: Gateway, user: User, reason: str) -> None:
    """A disabled user's clients, and a disconnected PC, hear it at once."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)

        def act() -> None:
            if reason == "disabled":
                User.objects.filter(pk=user.pk).update(is_active=False)
            else:
                Device.objects.filter(user=user).update(blocked_at=clock.now())
            bus.publish(user.pk)

        await in_thread(act)
        assert (await client.expect(messages.Bye)).reason == reason
        assert await client.closed() == 1008


async def test_raised_rounds_keep_who_waits(gateway: Gateway, user: User) -> None:
    """A verifier with a new salt is the same password to a client that waits by it."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)

        def remake() -> None:
            row = User.objects.get(pk=user.pk)
            since = row.password_changed_at
            passwords.set_initial(row, P1, must_change=False)
            row.password_changed_at = since
            row.save()
            bus.publish(row.pk)

        await in_thread(remake)
        await in_thread(lambda: change(user, P2))
        assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_presence(gateway: Gateway, user: User) -> None:
    """The row says who waits, since when, from where, by what; cleared at the disconnect."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        row = await in_thread(lambda: device_row(client))
        assert row.is_waiting
        assert (row.gateway, row.address, row.os) == ("gateway", "127.0.0.1", "Windows 11")
        assert (row.name, row.version, row.public_key) == (
            "PC-1",
            "1.2.3",
            client.device.public_key,
        )
        since = row.waiting_since
        await client.log_in(user.username, P1)
        assert (await in_thread(lambda: device_row(client))).waiting_since == since

    async def gone() -> bool:
        return not (await in_thread(lambda: device_row(client))).is_waiting

    assert await eventually_async(gone)


async def test_superseded(gateway: Gateway, user: User) -> None:
    """A newer connection of the same device replaces the older, and the device still waits."""
    async with Client(gateway.port) as older:
        await older.log_in(user.username, P1)
        async with Client(gateway.port, key=older.key) as newer:
            await newer.log_in(user.username, P1)
            assert (await older.expect(messages.Bye)).reason == "superseded"
            assert await older.closed() == 1000
            await in_thread(lambda: change(user, P2, newer))
            await newer.expect(messages.PasswordChanged)
            assert (await in_thread(lambda: device_row(newer))).is_waiting


async def test_other_user_on_the_same_connection(
    gateway: Gateway, user: User, make_user: Callable[..., User]
) -> None:
    """A login replaces the one before it, also one of another user."""
    other = await in_thread(make_user)
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await client.log_in(other.username, P1)

        async def moved() -> bool:
            devices = Device.objects.with_presence().filter(device_id=client.device.id)
            rows = await in_thread(lambda: list(devices))
            return {row.user_id: row.is_waiting for row in rows} == {
                user.pk: False,
                other.pk: True,
            }

        assert await eventually_async(moved)
        await in_thread(lambda: change(user, P2))
        await in_thread(lambda: change(other, P2, client))
        await client.expect(messages.PasswordChanged)


async def test_notice(gateway: Gateway, user: User) -> None:
    """The result of a warning is kept for the console."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        await client.send(messages.Notice(warning="failed", days_left=12))
        await client.log_in(user.username, P1)
        row = await in_thread(lambda: device_row(client))
        assert (row.warned, row.warned_days_left) == ("failed", 12)
        assert isinstance(row.warned_at, datetime)


async def test_restart(user: User) -> None:
    """A stopping gateway names a time to come back; the next one still has the push."""
    async with Gateway(sweep_interval_s=3600) as first:
        client = Client(first.port)
        await client.__aenter__()
        await client.log_in(user.username, P1)
        await in_thread(lambda: change(user, P2, client))
        pushed = await client.expect(messages.PasswordChanged)
    bye = await client.expect(messages.Bye)
    assert bye.reason == "shutting_down"
    assert bye.retry_after_s is not None
    assert 1 <= bye.retry_after_s <= 30
    assert await client.closed() == 1001
    assert not (await in_thread(lambda: device_row(client))).is_waiting
    # As after a crash, which clears nothing.
    await in_thread(
        lambda: Device.objects.filter(user=user).update(
            waiting_since=clock.now(), gateway="gateway"
        )
    )
    async with Gateway(sweep_interval_s=3600) as second:
        assert not (await in_thread(lambda: device_row(client))).is_waiting
        async with Client(second.port, key=client.key) as again:
            await again.log_in(user.username, P1)
            assert await again.expect(messages.PasswordChanged) == pushed
    await client.__aexit__(None, None, None)


async def test_change_during_logins(gateway: Gateway, user: User) -> None:
    """After changes that race with logins, every client knows whether its password is old."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        changing = asyncio.create_task(in_thread(lambda: change(user, P2)))
        answers = []
        while not changing.done():
            scram, challenge = await client.begin(user.username, P1)
            await client.prove(scram, challenge)
            answer = await client.receive()
            if isinstance(answer, messages.PasswordStatus):
                answers.append(answer.password)
                answer = await client.expect(messages.Welcome)
            assert isinstance(answer, messages.Welcome)
            answers.append(answer.password)
        await changing
        if answers[-1] == "current":
            assert (await client.expect(messages.PasswordStatus)).password == "old"
        assert (await client.log_in(user.username, P1)).password == "old"


def test_long_ended_passwords_are_forgotten(user: User) -> None:
    """Their verifiers are not kept for ever."""
    change(user, P2)
    clock.move(timedelta(days=31))
    passwords.tidy_up()
    assert RetiredPassword.objects.filter(user=user).count() == 1
    clock.move(passwords.REMEMBERED)
    passwords.tidy_up()
    assert RetiredPassword.objects.filter(user=user).count() == 0
