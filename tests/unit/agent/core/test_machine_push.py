"""A pushed password is pending, then proved by a login, then current; also after a kill."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from agent.core import effects as do
from agent.core.effects import WriteReason
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from tests.support.core_driver import BEGIN, CHANGE, HOME, P1, P2, P3, Kind, World
from tests.support.core_scenes import killed_at_each_action, on_old_password, pushed, standby

UNTIL = BEGIN + timedelta(days=30)


def test_a_push_is_stored_proved_and_committed() -> None:
    """A push takes two writes and one login between them, with one connection and device key."""
    world = standby()
    before = world.vault[HOME]
    world.change(P2)
    pending, commit = world.seen(do.WriteVault)
    assert (pending.reason, commit.reason) == (WriteReason.PENDING, WriteReason.COMMIT)
    assert world.tried == [P1, P2]
    stored = pending.credentials.pending
    assert stored is not None
    assert stored.password == P2
    assert pending.credentials == replace(before, pending=stored)
    assert commit.credentials == replace(before, password=P2)
    assert list(world.sessions) == [1]
    world.assert_updated()


@pytest.mark.parametrize("held", [(), ("proof",)])
def test_no_login_before_pending_is_durable(held: tuple[Kind, ...]) -> None:
    """The pushed password is tried only after the vault's answer, also around another login."""
    world = pushed("vault")
    assert world.is_in(State.UPDATING)
    assert (world.view.valid_until, world.view.days_left) == (UNTIL, 30)
    world.session.push()  # ignored: the first is being stored
    world.cut()
    world.hold.update(held)
    world.advance(10)
    assert world.tried == ([P1] if held else [P1, P1])
    assert world.is_in(State.CONNECTING if held else State.STANDBY_OLD_PASSWORD)
    world.release("vault")
    world.release("proof")
    assert world.tried == [P1, P1, P2]
    assert list(world.sessions) == [1, 2]
    assert len(world.seen(do.WriteVault)) == 2
    world.assert_updated()


def test_pending_becomes_current_only_after_a_right_signature() -> None:
    """A welcome with a wrong signature commits nothing, and both passwords are kept."""
    world = standby()
    world.impostor = True
    world.change(P2)
    assert world.is_in(State.RETRYING, Reason.IMPOSTOR)
    assert world.vault[HOME].password == P1
    assert world.vault[HOME].pending is not None
    world.impostor = False
    world.advance(7200)
    world.assert_updated()


@pytest.mark.parametrize("impostor", [False, True])
def test_a_refused_pending_password_gives_way_to_the_current_one(*, impostor: bool) -> None:
    """The current one is tried next; the pending one is deleted once the server is proved."""
    world = World(pending=P3)
    world.impostor = impostor
    world.start()
    assert world.tried == [P3, P1]
    assert list(world.sessions) == [1]
    if impostor:
        pending = world.vault[HOME].pending
        assert pending is not None
        assert pending.refused
        world.restart()
        world.impostor = False
        world.advance(7200)
    assert world.tried.count(P3) == 1
    assert world.failed == [msg.UpdateFailed(change_id=CHANGE, reason="refused")]
    reasons = {each.reason for each in world.seen(do.WriteVault)}
    assert reasons == {WriteReason.REFUSED, WriteReason.FORGET_PENDING}
    world.assert_updated(P1)


def test_a_push_that_the_server_then_refuses() -> None:
    """The client logs in with its current password, on this connection, and reports a failure."""
    world = pushed("vault")
    [[change, _]] = world.home.pushes.values()
    world.home.password = P3  # another change: P2 is unknown to the server
    world.release("vault")
    assert world.tried == [P1, P2]
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="refused")]
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert (world.vault[HOME].password, world.vault[HOME].pending) == (P1, None)


def test_a_pending_password_is_an_update_only_in_standby() -> None:
    """The view says "updating" only for a push in standby, not for one pending at the start."""
    world = pushed("proof")
    assert world.is_in(State.UPDATING)
    world.hold = {"vault", "proof"}
    world.restart()
    world.release("vault")
    assert world.is_in(State.CONNECTING)
    world.release("proof")
    assert world.is_in(State.STANDBY)


def test_a_pending_password_proved_while_the_vault_is_unknown() -> None:
    """A proved password is used at once, and committed after the vault is read again."""
    world = World(pending=P2)
    world.online = False
    world.start()
    world.online, world.home.password = True, P2
    world.vault_reason = Reason.VAULT_NO_ANSWER
    assert world.replies[world.log_in(P1)] is Reason.CREDENTIALS
    assert world.is_in(State.STANDBY)
    assert world.vault[HOME].pending is not None
    world.vault_reason = None
    world.advance(91)
    world.assert_updated()


def test_a_proved_password_that_has_become_old_is_committed() -> None:
    """A proved push that is already old is committed; the days left are those of its own end."""
    world = pushed("proof")
    world.advance(5)
    world.change(P3, push=False)
    world.release("proof")
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.vault[HOME].password == P2
    assert world.view.valid_until == UNTIL + timedelta(seconds=5)


@pytest.mark.parametrize("signed_by", [None, P2, P3])
def test_a_push_that_is_not_signed_is_an_impostors(signed_by: str | None) -> None:
    """A push with a wrong signature, as from a relay, is not tried."""
    world = standby()
    before = dict(world.vault)
    session = world.session
    sealed = world.seal(P2, CHANGE, world.this_device)
    right = session.signed(CHANGE, sealed, UNTIL)
    session.password = signed_by or session.password
    other = session.signed(CHANGE, sealed, UNTIL)
    session.say(replace(right, signature=other.signature if signed_by else None))
    world.run()
    assert world.is_in(State.RETRYING, Reason.IMPOSTOR)
    assert world.vault == before
    assert P2 not in world.tried


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (None, "unreadable"),  # more boxes that do not open: tests/unit/protocol/test_sealing.py
        ('"' * 700, "vault"),  # too long for any vault
        ("a\u0007b", "refused"),  # a control character
    ],
)
def test_a_box_that_cannot_be_used(password: str | None, reason: str) -> None:
    """A bad box changes no password; a later, good box of the same change is taken once."""
    world = on_old_password()
    sealed = world.seal(password, CHANGE, world.this_device) if password else "A" * 100
    later = world.seal(P2, CHANGE, world.this_device)
    world.session.say(world.session.signed(CHANGE, sealed, UNTIL))
    world.run()
    assert [(each.change_id, each.reason) for each in world.failed] == [(CHANGE, reason)]
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert (world.vault[HOME].password, world.vault[HOME].pending) == (P1, None)
    assert world.tried == [P1]
    assert (world.seen(do.WriteVault) == []) is (reason != "refused")
    for _ in range(2):
        world.session.say(world.session.signed(CHANGE, later, UNTIL))
    world.run()
    assert world.tried == [P1, P2]
    world.assert_updated()


@pytest.mark.parametrize("held", ["vault", "proof"])
def test_expired_while_a_push_is_under_way(held: Kind) -> None:
    """The update goes on although the old password ends while the new one is stored or proved."""
    world = on_old_password()
    world.advance(timedelta(days=30, seconds=-5))
    world.keep_push(P2, CHANGE, world.this_device)
    world.hold = {held}
    world.session.push()
    world.run()
    assert world.is_in(State.UPDATING)
    world.advance(6)
    assert P2 not in world.tried
    world.release("vault", "proof")
    assert world.tried.count(P1) == 1
    world.assert_updated()


def test_killed_at_any_moment_of_two_changes() -> None:
    """Killed at any step of two pushes, the client starts with the newest password it stored."""

    def change_twice(world: World) -> None:
        world.hold = {"proof"}
        world.change(P2)
        world.change(P3)
        world.release("proof")
        world.assert_updated(P3)

    for world in killed_at_each_action(standby, change_twice):
        entry = world.vault[HOME]
        world.tried.clear()
        if world.home.password == P2:
            world.change(P3)
        world.start()
        world.advance(60)
        assert world.tried[0] == (entry.pending or entry).password
        assert world.vault[HOME].device_key == entry.device_key
        if world.home.pushes or world.vault[HOME].password == P3:
            world.assert_updated(P3)
        else:  # the second change found no PC that waits
            assert world.is_in(State.STANDBY_OLD_PASSWORD)


def test_the_user_is_told_once_when_a_push_is_stored() -> None:
    """One notification after the commit; none for a typed password, none at a restart."""
    world = pushed("vault")
    world.step("vault")
    world.run()
    assert world.seen(do.TellReceived) == []
    world.release("vault")
    world.restart()
    world.home.password = P3
    world.log_in(P3)
    world.assert_updated(P3)
    assert len(world.seen(do.TellReceived)) == 1
