"""What clients notice when their user is deleted, or their PC removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction

from protocol import messages
from server import clock
from server.cluster import bus
from server.console import passwords, people
from server.console.models import AuditEvent, Device, RetiredPassword, User
from server.gateway import records
from server.gateway.server import Gateway
from tests.support.gateway_client import Client
from tests.support.polling import eventually
from tests.support.server_fixtures import P1, P2, MakeDevice, in_thread, on_own_connection


async def test_deleted_user(gateway: Gateway, user: User, administrator: User) -> None:
    """A client that waits is disconnected, one that logs in is refused like an unknown user."""
    async with Client(gateway.port) as waiting, Client(gateway.port) as late:
        await waiting.log_in(user.username, P1)
        scram, challenge = await late.begin(user.username, P1)
        await in_thread(lambda: people.delete(user, by=administrator, address=None))
        assert await waiting.receive() == messages.Bye(reason="disabled")
        assert await waiting.closed() == 1008
        await late.prove(scram, challenge)
        assert await late.receive() == messages.Rejected(reason="credentials")


async def test_removed_pc(gateway: Gateway, user: User) -> None:
    """A client whose row has gone is sent back, and becomes a new PC at its next login."""
    async with Client(gateway.port) as client:
        await client.log_in(user.username, P1)
        before = await in_thread(lambda: Device.objects.get(user=user))
        await in_thread(before.delete)
        await in_thread(lambda: bus.publish(user.pk))
        assert await client.receive() == messages.Bye(reason="shutting_down")
    async with Client(gateway.port, key=client.key) as again:
        await again.log_in(user.username, P1)
        after = await in_thread(lambda: Device.objects.get(user=user))
    assert after.device_id == before.device_id
    assert after.first_seen_at > before.first_seen_at


@pytest.mark.database("postgresql")  # SQLite has one writer at a time
def test_deleted_while_a_client_reports(
    user: User, administrator: User, make_device: MakeDevice
) -> None:
    """A report on a push, not yet committed, and the deletion of its user: no deadlock."""
    device = make_device(user)
    change = passwords.change_own(user, new_password=P2, push_to=[device], address=None)
    failed = messages.UpdateFailed(change_id=change.pk, reason="refused")

    def is_waiting_for_a_lock() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            records.update_failed(device.pk, failed, "192.0.2.1")
            delete = partial(people.delete, user, by=administrator, address=None)
            deletion = pool.submit(on_own_connection, delete)
            eventually(is_waiting_for_a_lock)
        deletion.result()
    assert not User.objects.filter(pk=user.pk).exists()
    assert AuditEvent.objects.filter(action="push.failed", subject_name=user.username).exists()


@pytest.mark.database("postgresql")  # SQLite has one writer at a time
def test_what_another_transaction_has_is_tidied_up_later(user: User) -> None:
    """Sweeps wait for no other transaction, such as a deletion, so there is no deadlock."""
    for days in (400, 399):
        until = clock.now() - timedelta(days=days)
        RetiredPassword.objects.create(user=user, verifier="", since=until, valid_until=until)
    old, _ = user.retired_passwords.order_by("valid_until")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        user.retired_passwords.select_for_update().get(pk=old.pk)
        pool.submit(on_own_connection, passwords.tidy_up).result(timeout=10)
        assert list(user.retired_passwords.all()) == [old]
    passwords.tidy_up()
    assert not user.retired_passwords.exists()
