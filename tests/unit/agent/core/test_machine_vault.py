"""A vault that fails or hangs at any step: the view has a reason, no password is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.connection_state import CONNECT_S, LOGIN_S
from agent.core.credential_cache import ANSWER_S
from agent.core.credentials import Identity
from agent.core.effects import WriteReason
from agent.core.events import Timer
from agent.core.failure import Reason
from agent.core.state import State
from protocol import messages as msg
from tests.support.core_driver import HOME, KINDS, OTHER, P1, P2, P3, WRONG, Kind, World
from tests.support.core_scenes import (
    killed_at_each_action,
    on_old_password,
    pushed,
    standby,
    started,
)

LOCKED, SILENT = Reason.VAULT_LOCKED, Reason.VAULT_NO_ANSWER


def uncommitted() -> World:
    """Return a client with a proved, pushed P2, whose commit the vault refused."""
    world = pushed("proof")
    world.vault_reason = Reason.VAULT_MISSING
    world.release("proof")
    assert world.state is State.STANDBY
    assert world.view.vault_problem is Reason.VAULT_MISSING
    assert world.vault[HOME].password == P1
    return world


def unstored(reason: Reason | None) -> World:
    """Return a client in standby whose vault fails to store P2 by `reason`, or hangs (None)."""
    if reason is None:
        world = pushed("vault")
        world.advance(ANSWER_S + 1)
    else:
        world = standby()
        world.vault_reason = reason
        world.change(P2)
        world.vault_reason = None
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.vault_problem is (reason or SILENT)
    return world


# --- reading


@pytest.mark.parametrize(
    ("typed", "works", "answer", "tried"),
    [
        pytest.param(None, True, None, [P1], id="asked again later"),
        pytest.param(P1, True, None, [P1], id="replaced by the right password"),
        pytest.param(P3, True, Reason.CREDENTIALS, [P3, P1], id="a wrong password leaves it"),
        pytest.param(P1, False, LOCKED, [P1], id="stays locked, and does not hold up the answer"),
    ],
)
def test_a_vault_that_cannot_be_read(
    typed: str | None, works: bool, answer: Reason | None, tried: list[str]
) -> None:
    """The view has the reason; the client reads again before it makes a device key."""
    world = started(vault_reason=LOCKED)
    assert world.is_in(State.RETRYING, LOCKED)
    assert world.view.vault_problem is LOCKED
    entry = world.vault[HOME]
    world.vault_reason = None if works else LOCKED
    if typed is None:
        world.advance(7200)
    else:
        assert world.replies[world.log_in(typed)] is answer
    assert world.tried == tried
    assert world.vault[HOME] == entry
    assert world.state is (State.STANDBY if works else State.RETRYING)


def test_a_vault_that_does_not_answer_a_read() -> None:
    """A read without an answer for 90 s leads to RETRYING; the next try uses a late answer."""
    world = started("vault")
    world.advance(ANSWER_S - 0.1)
    assert world.is_in(State.CONNECTING)
    world.advance(0.2)
    assert world.is_in(State.RETRYING, SILENT)
    world.step("vault")
    assert world.view.vault_problem is SILENT
    world.release("vault")
    world.tell(ev.ReconnectRequested())
    world.assert_updated(P1)
    world = started("vault")
    world.advance(86_400)
    assert len(world.jobs["vault"]) == 1, "the unanswered request serves every later try"
    world.tell(ev.ReconnectRequested())
    world.release("vault")
    world.assert_updated(P1)


def test_a_late_read_is_repeated_after_a_later_write() -> None:
    """A read that answers after a later write is repeated: its data may be older."""
    world = started("vault")
    world.advance(ANSWER_S + 1)
    request = world.log_out()
    world.advance(ANSWER_S + 1)
    again = world.log_in(P1)
    world.release("vault")
    assert world.replies == {request: SILENT, again: None}
    world.assert_updated(P1)


def test_each_request_has_the_whole_time() -> None:
    """The deadline of a second request begins when the vault has answered the first."""
    world = standby("vault")
    first = world.log_out()
    world.advance(30)
    second = world.log_in(P1)
    world.advance(30)
    assert world.timers[Timer.VAULT_ANSWER] - world.steady == ANSWER_S - 60
    while not world.replies:
        world.step("vault")
    assert world.timers[Timer.VAULT_ANSWER] - world.steady == ANSWER_S
    world.advance(ANSWER_S - 1)
    assert world.replies == {first: None}
    world.advance(2)
    assert world.replies == {first: None, second: SILENT}


@pytest.mark.parametrize("network", ["works", "fails", "connects"])
def test_a_read_that_fails_again(network: str) -> None:
    """The client repeats a failed read, in any network, and then stores the push."""
    world = unstored(None)
    world.online = network != "fails"
    if network != "works":
        world.cut()
    if network == "connects":
        world.advance(10)
        world.hold.add("connect")
        world.tell(ev.ReconnectRequested())
    world.vault_reason = LOCKED
    world.release("vault")
    world.advance(55 if network == "connects" else 300)
    states = {"works": State.STANDBY_OLD_PASSWORD, "fails": State.RETRYING}
    assert world.state is states.get(network, State.CONNECTING)
    assert world.view.vault_problem is LOCKED
    world.vault_reason, world.online = None, True
    world.release("connect")
    world.advance(400)
    world.assert_updated()


@pytest.mark.parametrize("end", ["login expires", "user reconnects", "network fails"])
def test_an_entry_that_disappears_while_the_client_waits(end: str) -> None:
    """Without its entry, the client stays logged in until the connection ends."""
    world = unstored(SILENT)
    world.vault.clear()
    if end == "network fails":
        world.online = False
        world.cut()
        world.advance(400)
    else:
        world.advance(91)
        assert world.is_in(State.STANDBY_OLD_PASSWORD)
    if end == "user reconnects":
        world.tell(ev.ReconnectRequested())
    world.home.retired.clear()
    world.advance(1)
    assert world.is_in(State.LOGGED_OUT)


# --- a pushed password


@pytest.mark.parametrize("reason", [LOCKED, SILENT, None])
def test_a_pushed_password_that_the_vault_does_not_store(reason: Reason | None) -> None:
    """The server gets `update_failed`; a vault that hung is read before the next write."""
    world = unstored(reason)
    assert [each.reason for each in world.failed] == ["vault"]
    assert (world.view.days_left, world.tried) == (30, [P1])
    world.performed.clear()
    world.hold = {"vault"}
    world.advance(89)
    if reason is not LOCKED:
        assert len(world.seen(do.ReadVault)) == 1
        assert world.seen(do.WriteVault) == []
    world.release("vault")
    world.assert_updated()


def test_pending_cannot_be_written_and_the_connection_is_lost() -> None:
    """If the connection is lost too, the server repeats the push after the next login."""
    world = pushed("vault")
    world.cut()
    world.hold.add("proof")
    world.advance(5)
    world.vault_reason = LOCKED
    world.release("vault")
    assert world.failed == []
    assert not world.sessions[2].closed
    world.vault_reason = None
    world.release("proof")
    world.advance(100)
    world.assert_updated()


def test_an_older_push_does_not_replace_a_newer_one() -> None:
    """If the first push cannot be stored while a second waits, only the second is kept."""
    world = pushed("vault")
    world.change(P3)
    world.vault_reason = LOCKED
    world.release("vault")
    world.vault_reason = None
    world.advance(91)
    world.assert_updated(P3)
    assert P2 not in world.tried


@pytest.mark.parametrize("killed", [False, True])
def test_the_commit_cannot_be_written(*, killed: bool) -> None:
    """A commit that the vault refuses is repeated until the vault works, also after a restart."""
    world = uncommitted()
    if killed:
        world.restart()
    world.advance(300)
    world.vault_reason = None
    world.advance(100)
    world.assert_updated()
    assert world.tried == ([P1, P2, P2] if killed else [P1, P2])


def test_a_commit_without_an_answer() -> None:
    """After a commit without an answer, the vault is read before the next write."""
    world = pushed("proof")
    world.hold = {"vault"}
    world.release("proof")
    world.advance(ANSWER_S + 1)
    world.cut()
    world.advance(10)
    assert world.is_in(State.STANDBY)
    world.performed.clear()
    world.advance(ANSWER_S + 100)
    assert world.seen(do.WriteVault) == []
    world.release("vault")
    world.advance(ANSWER_S + 100)
    world.assert_updated()


def test_writes_are_repeated_neither_often_nor_in_the_middle_of_an_update() -> None:
    """Failed writes are repeated every 30 s or more, and not during a proof or a login."""
    world = standby()
    world.vault_reason = LOCKED
    world.change(P2)
    world.performed.clear()
    world.advance(600)
    assert 6 <= len(world.seen(do.WriteVault)) <= 20
    world.hold = {"proof"}
    world.vault_reason = None
    world.advance(91)
    assert WriteReason.COMMIT not in {each.reason for each in world.seen(do.WriteVault)}
    world.release("proof")
    world.advance(91)
    world.assert_updated()
    world = uncommitted()
    world.vault_reason = None
    world.advance(50)
    world.hold = {"proof"}
    world.log_in(P3)
    world.advance(15)
    assert world.vault[HOME].password == P1
    world.release("proof")
    world.advance(91)
    world.assert_updated()


@pytest.mark.parametrize("reason", [LOCKED, SILENT])
def test_killed_at_any_moment_with_a_vault_that_comes_and_goes(reason: Reason) -> None:
    """After failed writes and a kill, the update is finished, or is still pending."""

    def update(world: World) -> None:
        world.hold = {"proof"}
        world.change(P2)
        world.vault_reason = reason
        world.release("proof")
        world.advance(100)
        world.vault_reason = None
        world.advance(100)
        world.assert_updated()

    for world in killed_at_each_action(standby, update):
        world.vault_reason = None
        world.start()
        world.advance(timedelta(hours=1))
        world.assert_updated(world.home.password)


# --- a typed password


@pytest.mark.parametrize("identity", [HOME, OTHER])
@pytest.mark.parametrize("hangs", [True, False])
def test_a_typed_password_that_the_vault_does_not_store(identity: Identity, *, hangs: bool) -> None:
    """The request gets the reason; a late write never replaces the password that works."""
    world = on_old_password()
    world.accounts[OTHER.user].password = P2
    before = dict(world.vault)
    world.hold = {"vault"}
    request = world.log_in(P2, identity)
    assert world.seen(do.SaveState) == [], "what is known of the stored password stays"
    if hangs:
        world.advance(ANSWER_S + 1)
    else:
        world.vault_reason = LOCKED
        world.release("vault")
    assert world.replies == {request: SILENT if hangs else LOCKED}
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert (world.view.days_left, world.view.vault_problem) == (30, SILENT if hangs else None)
    world.vault_reason = None
    world.release("vault")
    assert hangs or world.vault == before
    world.advance(ANSWER_S + 100)
    assert (world.settings, list(world.vault)) == (HOME, [HOME])
    world.restart()
    assert world.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}


@pytest.mark.parametrize("ends", ["network", "login"])
def test_a_login_that_ends_while_a_typed_password_is_stored(ends: str) -> None:
    """A lost login does not stop the write; if the write fails, the old password is tried."""
    world = on_old_password("vault")
    request = world.log_in(P2)
    assert world.is_in(State.UPDATING)
    if ends == "network":
        world.cut()
    else:
        world.session.say(msg.Rejected(reason="expired"))
        world.run()
        world.vault_reason = LOCKED
    assert world.replies == {}
    world.release("vault")
    if ends == "network":
        assert (world.replies, world.tried) == ({request: None}, [P1, P2, P2])
        world.assert_updated()
    else:
        assert (world.replies, world.tried) == ({request: LOCKED}, [P1, P2, P1])
        assert world.is_in(State.STANDBY_OLD_PASSWORD)


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_is_answered_whatever_hangs(kind: Kind) -> None:
    """With one kind of answer withheld, no request and no state waits for ever."""
    world = standby()
    world.hold = {kind}
    for number in (world.log_in(WRONG), world.log_in(P1, OTHER), world.log_out()):
        world.advance(2 * ANSWER_S + CONNECT_S + LOGIN_S)
        assert number in world.replies
        assert world.state not in {State.CONNECTING, State.UPDATING}
