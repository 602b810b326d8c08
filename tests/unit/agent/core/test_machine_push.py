"""A pushed password: pending, proven by a login, committed; and the same after any kill."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Pending
from agent.core.effects import Effect, WriteReason
from agent.core.events import Timer
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from protocol.sealing import new_device_key
from tests.support.core_driver import BEGIN, HOME, P1, P2, P3, Killed, World

UNTIL = BEGIN + timedelta(days=30)


def waiting() -> World:
    world = World()
    world.start()
    assert world.state is State.STANDBY
    world.performed.clear()
    return world


def writes(effects: list[Effect]) -> list[do.WriteVault]:
    return [each for each in effects if isinstance(each, do.WriteVault)]


def settled(world: World, password: str = P2) -> None:
    """Assert that the update is finished: proven, committed, nothing left over."""
    assert world.state is State.STANDBY
    record = world.vault[HOME]
    assert record.password == password
    assert (record.pending, record.refused) == (None, None)
    assert world.home.pushes == {}
    assert world.view.days_left is None


def test_a_push_is_stored_proved_and_committed() -> None:
    """Two writes, one login between them, all on the same connection."""
    world = waiting()
    world.change(P2)
    pending, commit = writes(world.performed)
    assert (pending.reason, commit.reason) == (WriteReason.PENDING, WriteReason.COMMIT)
    assert world.tried == [P1, P2]
    assert pending.credentials.password == P1
    assert pending.credentials.pending is not None
    assert pending.credentials.pending.password == P2
    assert commit.credentials == replace(world.vault[HOME], password=P2)
    assert list(world.sessions) == [1]
    settled(world)


def test_no_login_before_pending_is_durable() -> None:
    """The vault's answer comes first, however long it takes, also on another connection."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    assert world.view.state is State.UPDATING
    assert world.tried == [P1]
    world.cut()
    world.advance(10)
    assert world.tried == [P1, P1]
    assert world.state is State.STANDBY_OLD_PASSWORD
    world.release("vault")
    assert world.tried == [P1, P1, P2]
    settled(world)


def test_pending_becomes_durable_during_another_login() -> None:
    """It is proven right after that one, without another connection."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    world.cut()
    world.hold = {"vault", "proof"}
    world.advance(5)
    world.release("vault")
    assert world.tried == [P1]
    world.release("proof")
    assert world.tried == [P1, P1, P2]
    assert list(world.sessions) == [1, 2]
    settled(world)


def test_pending_becomes_current_only_after_a_right_signature() -> None:
    """An impostor's welcome commits nothing; both passwords stay for the next try."""
    world = waiting()
    world.impostor = True
    world.change(P2)
    assert world.view.reason is Reason.IMPOSTOR
    assert world.vault[HOME].password == P1
    assert world.vault[HOME].pending is not None
    world.impostor = False
    world.advance(7200)
    settled(world)


def test_pending_is_tried_first_at_every_start() -> None:
    """The newer password is the likelier one."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.kill()
    world.hold = set()
    world.tried.clear()
    world.start()
    assert world.tried == [P2]
    settled(world)


def with_refused_pending() -> World:
    world = World()
    pending = Pending(change_id="a" * 32, password=P3)
    world.vault[HOME] = replace(world.vault[HOME], pending=pending)
    return world


def test_a_refused_pending_password_gives_way_to_the_current_one() -> None:
    """It is dropped and reported on the same connection, and not before."""
    world = with_refused_pending()
    effects = world.start()
    assert world.tried == [P3, P1]
    assert list(world.sessions) == [1]
    assert [each.reason for each in writes(effects)] == [
        WriteReason.REFUSED,
        WriteReason.FORGET_PENDING,
    ]
    assert world.failed == [msg.UpdateFailed(change_id="a" * 32, reason="refused")]
    settled(world, P1)


def test_a_refused_pending_password_is_kept_until_the_server_has_proven_itself() -> None:
    """Refusing is easy; only who signs the next welcome is believed. It is not sent again."""
    world = with_refused_pending()
    world.impostor = True
    world.start()
    assert world.tried == [P3, P1]
    pending = world.vault[HOME].pending
    assert pending is not None
    assert pending.refused
    world.restart()
    world.impostor = False
    world.advance(7200)
    assert world.tried.count(P3) == 1
    settled(world, P1)


def test_a_push_that_the_server_then_refuses() -> None:
    """The client goes on with what it has, on the same connection, and says so."""
    world = waiting()
    world.hold = {"vault"}
    change = world.change(P2)
    world.home.password = P3  # changed again at that time, and P2 was never valid
    world.release("vault")
    assert world.tried == [P1, P2]
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="refused")]
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.vault[HOME].password == P1
    assert world.vault[HOME].pending is None


def test_the_same_push_twice() -> None:
    """A second `password_changed` for the change under way is ignored."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    world.session.push()
    world.run()
    world.release("vault")
    assert len(writes(world.performed)) == 2
    settled(world)


@pytest.mark.parametrize("held", ["vault", "proof"])
def test_a_second_change_behind_the_first(held: str) -> None:
    """It waits for its turn and is not lost."""
    world = waiting()
    world.hold = {"vault"} if held == "vault" else {"proof"}
    world.change(P2)
    world.change(P3)
    world.release("vault", "proof")
    settled(world, P3)


def test_a_proven_password_that_has_become_old_is_committed() -> None:
    """It is newer than the stored one all the same; the days left are its own."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.advance(timedelta(seconds=5))
    world.change(P3, push=False)
    world.release("proof")
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.vault[HOME].password == P2
    assert world.view.valid_until == BEGIN + timedelta(days=30, seconds=5)


def test_the_days_count_from_the_push_on() -> None:
    """While the update is under way the old password's end is known."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    assert world.view.valid_until == UNTIL
    assert world.view.days_left == 30


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda sealed: "A" * len(sealed), id="junk"),
        pytest.param(lambda sealed: sealed[:-8] + "AAAAAAA=", id="damaged"),
    ],
)
def test_a_box_that_does_not_open(spoil: Callable[[str], str]) -> None:
    """Nothing is stored, the client reports it and waits on with the old password."""
    world = waiting()
    world.hold = {"server"}
    change = world.change(P2)
    event = world.inbox.popleft()
    assert isinstance(event, ev.Received)
    assert isinstance(event.message, msg.PasswordChanged)
    sealed = spoil(event.message.sealed)
    world.session.say(world.session.signed(change, sealed, UNTIL))
    world.release("server")
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="unreadable")]
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert writes(world.performed) == []


@pytest.mark.parametrize("signed_by", [None, P2, P3])
def test_a_push_that_is_not_signed_is_an_impostors(signed_by: str | None) -> None:
    """Who is in the middle of a right login could prove a password of its own: it is not tried."""
    world = waiting()
    before = dict(world.vault)
    session, device = world.session, world.session.device
    assert device
    sealed = world.seal(P2, "a" * 32, device)
    right = session.signed("a" * 32, sealed, UNTIL)
    session.password = signed_by or session.password
    other = session.signed("a" * 32, sealed, UNTIL)
    session.say(replace(right, signature=other.signature if signed_by else None))
    world.run()
    assert world.state is State.RETRYING
    assert world.view.reason is Reason.IMPOSTOR
    assert world.vault == before
    assert P2 not in world.tried


def test_a_box_for_another_device_or_change() -> None:
    """Replayed from another PC, or under another change's id: not taken."""
    world = waiting()
    device = world.session.device
    assert device is not None
    for change_id, sealed in (
        ("a" * 32, world.seal(P2, "b" * 32, device)),
        ("a" * 32, world.seal(P2, "a" * 32, msg.Device(**{**_fields(device), "id": "0" * 32}))),
    ):
        world.session.say(world.session.signed(change_id, sealed, UNTIL))
        world.run()
        assert world.failed.pop() == msg.UpdateFailed(change_id=change_id, reason="unreadable")
    assert writes(world.performed) == []


def _fields(device: msg.Device) -> dict[str, str]:
    return {name: getattr(device, name) for name in device.__struct_fields__}


def test_a_password_that_no_vault_can_keep() -> None:
    """Checked before the push is accepted."""
    world = waiting()
    change = world.change('"' * 700)
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="vault")]
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert writes(world.performed) == []


def test_a_pushed_password_that_is_no_password() -> None:
    """It cannot be proved, so it is not kept."""
    world = waiting()
    device = world.session.device
    assert device is not None
    sealed = world.seal("a\u0007b", "a" * 32, device)
    world.session.say(world.session.signed("a" * 32, sealed, UNTIL))
    world.run()
    assert world.failed == [msg.UpdateFailed(change_id="a" * 32, reason="refused")]
    assert world.vault[HOME].pending is None
    assert world.vault[HOME].password == P1


def test_a_change_without_a_push_is_only_told() -> None:
    """`password_status`: standby with the old password, nothing stored."""
    world = waiting()
    world.change(P2, push=False)
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.view.days_left == 30
    assert writes(world.performed) == []
    assert Timer.MIDNIGHT in world.timers


def test_expired_in_the_middle_of_the_proof() -> None:
    """The end of the old password and the proof of the new one cross: the update is not lost."""
    world = waiting()
    world.change(P2, push=False)
    world.advance(timedelta(days=30, seconds=-5))
    device = world.session.device
    assert device is not None
    world.home.pushes[device.id] = ("a" * 32, world.seal(P2, "a" * 32, device))
    world.hold = {"proof"}
    world.session.push()
    world.run()
    assert world.state is State.UPDATING
    world.advance(6)
    world.release("proof")
    assert P1 not in world.tried[1:]
    settled(world)


def test_killed_after_any_effect_the_update_is_finished() -> None:
    """Every prefix of what a push does, the vault's and the server's steps included."""
    total = _push_until(kill_at=None).actions
    assert total > 20
    for kill_at in range(total):
        world = _push_until(kill_at=kill_at)
        key = world.vault[HOME].device_key
        world.restart()
        world.advance(60)
        if world.home.password == P2:
            settled(world)
        assert world.vault[HOME].device_key == key


def _push_until(*, kill_at: int | None) -> World:
    world = World()
    world.start()
    world.actions, world.kill_at = 0, kill_at
    try:
        world.change(P2)
    except Killed:
        pass
    else:
        assert kill_at is None
    return world


def test_killed_at_any_moment_of_two_changes() -> None:
    """The second push crosses the first; killed anywhere the client comes back with the newest."""
    for kill_at in range(200):
        world = World()
        world.start()
        world.actions, world.kill_at, world.hold = 0, kill_at, {"proof"}
        try:
            world.change(P2)
            world.change(P3)
            world.release("proof")
        except Killed:
            world.hold = set()
            world.kill()
            if world.home.password == P2:
                world.change(P3)
            world.start()
            world.advance(60)
            if world.home.pushes or world.vault[HOME].password == P3:
                settled(world, P3)
            else:  # the second change found no waiting client
                assert world.state is State.STANDBY_OLD_PASSWORD
        else:
            settled(world, P3)
            return
    raise AssertionError("never finished")


def test_another_device_key_is_never_made_by_an_update() -> None:
    """The key is the device's identity on the server."""
    world = waiting()
    key = world.vault[HOME].device_key
    world.change(P2)
    world.sign_in(P2)
    assert world.vault[HOME].device_key == key != new_device_key()


def told(world: World) -> int:
    return sum(isinstance(each, do.TellReceived) for each in world.performed)


def test_the_user_is_told_once_when_a_push_is_stored() -> None:
    """After the commit is in the vault; not for a typed password, not again at a restart."""
    world = waiting()
    world.hold.add("vault")
    world.change(P2)
    world.step("vault")
    world.run()
    assert told(world) == 0
    world.release("vault")
    assert told(world) == 1
    world.restart()
    world.home.password = P3
    world.sign_in(P3)
    settled(world, P3)
    assert told(world) == 1
