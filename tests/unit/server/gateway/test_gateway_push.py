"""Messages to waiting clients when a user changes, and the rows that the server keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec
import pytest

from protocol import messages
from server import clock, metrics
from server.cluster import bus
from server.console import passwords
from server.console.models import AuditEvent, Device, PasswordChange, PushDelivery, User
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.server_fixtures import P1, P2, MakeUser, change, in_thread, until


@pytest.fixture
async def client(gateway: Gateway, user: User) -> AsyncIterator[Client]:
    """Yield a client that is logged in with P1 and waits."""
    async with Client(gateway.port) as waiting:
        await waiting.log_in(user.username, P1)
        yield waiting


async def deliveries(user: User) -> list[tuple[str, str, str]]:
    """Return outcome, sealed box and failure of each push, the latest last."""
    rows = PushDelivery.objects.filter(change__user=user).order_by("change__changed_at", "pk")
    return [(row.outcome, row.sealed, row.failure) for row in await in_thread(lambda: list(rows))]


async def device_row(client: Client) -> Device:
    devices = Device.objects.with_presence()
    return await in_thread(lambda: devices.get(device_id=client.device.id))


async def test_push_is_sealed_and_proven_by_login(client: Client, user: User) -> None:
    """The device opens the box and logs in with its password; only then the push is applied."""
    made = await change(user, P2, client)
    pushed = await client.expect(messages.PasswordChanged)
    assert (pushed.change_id, pushed.valid_until) == (made.pk, made.old_valid_until)
    assert P2 not in pushed.sealed
    opened = client.open(pushed.sealed)
    assert opened == {"change_id": made.pk, "device_id": client.device.id, "password": P2}
    assert await deliveries(user) == [("pending", pushed.sealed, "")]
    assert (await client.log_in(user.username, P2)).password == "current"
    assert await deliveries(user) == [("applied", "", "")]
    events = AuditEvent.objects.filter(subject=user).order_by("at", "id")
    found = await in_thread(lambda: [(event.action, event.detail) for event in events])
    assert [action for action, _ in found] == ["device.added", "password.changed", "push.applied"]
    assert found[2][1] == {"device": "PC-1", "change": made.pk}


async def test_update_failed_ends_the_push(
    gateway: Gateway, client: Client, user: User, make_user: MakeUser
) -> None:
    """`update_failed` ends the push: its box is emptied and not sent again.

    After a locked keyring the next login gets the push again. A report of another user's
    device, or on another change, does nothing.
    """
    made = await change(user, P2, client)
    pushed = await client.expect(messages.PasswordChanged)
    await client.send(messages.UpdateFailed(change_id=made.pk, reason="vault"))
    await client.log_in(user.username, P1)
    assert await client.expect(messages.PasswordChanged) == pushed
    other = await in_thread(make_user)
    async with Client(gateway.port) as stranger:
        await stranger.log_in(other.username, P1)
        await stranger.send(messages.UpdateFailed(change_id=made.pk, reason="refused"))
        await stranger.log_in(other.username, P1)
    await client.send(messages.UpdateFailed(change_id="0" * 32, reason="refused"))
    await client.log_in(user.username, P1)
    assert await client.expect(messages.PasswordChanged) == pushed
    assert await deliveries(user) == [("pending", pushed.sealed, "vault")]
    await client.send(messages.UpdateFailed(change_id=made.pk, reason="unreadable"))
    await client.log_in(user.username, P1)
    assert await deliveries(user) == [("failed", "", "unreadable")]
    assert (await client.log_in(user.username, P2)).password == "current"


async def test_live_connection_expires(gateway: Gateway, client: Client, user: User) -> None:
    """When the old password ends, the sweep rejects its client, and its next login is refused.

    The sealed password is deleted, because no login can fetch it any more.
    """
    async with Client(gateway.port) as proven:
        await change(user, P2, client)
        await client.expect(messages.PasswordChanged)
        await proven.log_in(user.username, P2)
        for time in (timedelta(days=30, minutes=-1), timedelta(minutes=2)):
            clock.move(time)
            await gateway.sweep()
        assert await client.expect(messages.Rejected) == messages.Rejected(reason="expired")
        assert await client.closed() == 1008
        assert (await proven.log_in(user.username, P2)).password == "current"
        assert await proven.try_log_in(user.username, P1) == messages.Rejected(reason="expired")
        assert await proven.closed() == 1008
    assert await deliveries(user) == [("expired", "", "")]


async def test_raised_rounds_keep_who_waits(client: Client, user: User) -> None:
    """A new verifier of the same password does not make a waiting client's password old."""

    def remake() -> None:
        row = User.objects.get(pk=user.pk)
        since = row.password_changed_at
        passwords.set_initial(row, P1, must_change=False)
        row.password_changed_at = since
        row.save()
        bus.publish(row.pk)

    await in_thread(remake)
    await change(user, P2)
    assert (await client.expect(messages.PasswordStatus)).password == "old"


async def test_presence(gateway: Gateway, client: Client, user: User) -> None:
    """A waiting device's row has time, address, name and version; a device waits only once."""
    row = await device_row(client)
    assert row.is_waiting
    assert (row.gateway, row.address, row.os) == ("gateway", "127.0.0.1", "Windows 11")
    assert (row.name, row.version) == ("PC-1", "1.2.3")
    assert row.public_key == client.device.public_key
    client.device = msgspec.structs.replace(client.device, name="\u202ePC-2")
    await client.log_in(user.username, P1)
    again = await device_row(client)
    assert (again.name, again.waiting_since) == ("PC-2", row.waiting_since)
    async with Client(gateway.port, key=client.key) as newer:
        await newer.log_in(user.username, P1)
        assert await client.expect(messages.Bye) == messages.Bye(reason="superseded")
        assert await client.closed() == 1000


async def test_other_user_on_the_same_connection(
    client: Client, user: User, make_user: MakeUser
) -> None:
    """Another user's login on the connection replaces the first; each user has a device row."""
    other = await in_thread(make_user)
    await client.log_in(other.username, P1)

    def moved() -> bool:
        devices = Device.objects.with_presence().filter(device_id=client.device.id)
        found = {row.user_id: row.is_waiting for row in devices}
        return found == {user.pk: False, other.pk: True}

    await until(moved)
    await change(user, P2)
    await change(other, P2, client)
    await client.expect(messages.PasswordChanged)


async def test_notice(client: Client, user: User) -> None:
    """The newest outcome of a warning is kept for the console; "not due" replaces no other."""
    for sent, kept in (
        (messages.WarningOutcome.SUPPRESSED, "suppressed"),
        (messages.WarningOutcome.CLICKED, "clicked"),
        (messages.WarningOutcome.SUPPRESSED, "clicked"),
        (messages.WarningOutcome.UNSEEN, "unseen"),
    ):
        await client.send(messages.Notice(warning=sent, days_left=12))
        await client.log_in(user.username, P1)
        row = await device_row(client)
        assert (row.warned, row.warned_days_left) == (kept, 12)
        assert isinstance(row.warned_at, datetime)


@pytest.mark.parametrize(("said", "kept"), [("sleep", "sleep"), ("lunch", ""), ("", "")])
async def test_why_a_client_left(gateway: Gateway, user: User, said: str, kept: str) -> None:
    """The reason in the close frame, if it is a known one, is kept until the next login."""
    async with Client(gateway.port) as leaving:
        await leaving.log_in(user.username, P1)
        before = clock.now()
        await leaving.socket.close(reason=said)
    left = Device.objects.filter(device_id=leaving.device.id, waiting_since=None)
    await until(left.exists)
    row = await device_row(leaving)
    assert row.farewell == kept
    assert row.last_seen_at >= before
    async with Client(gateway.port, key=leaving.key) as back:
        await back.log_in(user.username, P1)
        assert (await device_row(back)).farewell == ""
        await in_thread(lambda: User.objects.filter(pk=user.pk).update(is_active=False))
        gateway.wake(user.pk)
        assert await back.expect(messages.Bye) == messages.Bye(reason="disabled")
        await back.socket.close(reason="sleep")  # after `bye`, a reason does not count
    await until(left.exists)
    assert (await device_row(back)).farewell == ""


async def push_later(user: User, password: str, client: Client) -> PasswordChange:
    """Push a password after its change, as the page does."""

    def push_now() -> PasswordChange:
        fresh = User.objects.get(pk=user.pk)
        devices = list(Device.objects.filter(device_id=client.device.id))
        return passwords.push_later(fresh, password=password, devices=devices)

    return await in_thread(push_now)


async def test_push_later(gateway: Gateway, client: Client, user: User) -> None:
    """A later push reaches a waiting PC at once, another at its next login; both prove it.

    The metric counts from the push, not from the change ten days before.
    """
    async with Client(gateway.port) as away:
        await away.log_in(user.username, P1)
    before = metrics.push_seconds._sum.get()
    made = await change(user, P2)
    await client.expect(messages.PasswordStatus)
    clock.move(timedelta(days=10))
    for one in (client, away):
        assert await push_later(user, P2, one) == made
    await client.takes(user.username, P2)
    async with Client(gateway.port, key=away.key) as back:
        assert (await back.log_in(user.username, P1)).password == "old"
        await back.takes(user.username, P2)
    assert await deliveries(user) == [("applied", "", "")] * 2
    assert metrics.push_seconds._sum.get() - before < 3600


async def test_a_later_push_goes_out_again(client: Client, user: User) -> None:
    """After a failure, a later push is sent on the same connection again, in a new box."""
    made = await change(user, P2, client)
    first = await client.expect(messages.PasswordChanged)
    for reason in ("refused", "vault"):
        await client.send(messages.UpdateFailed(change_id=made.pk, reason=reason))
        await until(PushDelivery.objects.filter(failure=reason, device__user=user).exists)
        await push_later(user, P2, client)
        again = await client.expect(messages.PasswordChanged)
        assert (again.change_id, again.sealed == first.sealed) == (made.pk, False)
    await in_thread(lambda: bus.publish(user.pk))
    assert (await client.log_in(user.username, P2)).password == "current"
    assert await deliveries(user) == [("applied", "", "")]
