"""Every wait has a deadline, and a defect ends the machine at once."""

from __future__ import annotations

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.connection_state import CONNECT_S, LOGIN_S
from agent.core.credential_cache import ANSWER_S
from agent.core.credentials import Identity
from agent.core.events import Timer
from agent.core.failure import Failure, Reason
from agent.core.password_warnings import TOAST_S
from agent.core.state import State
from agent.core.transitions import IllegalTransition
from protocol import messages as msg
from tests.support.core_driver import HOME, KINDS, OTHER, P1, P2, P3, WRONG, Kind, World
from tests.support.core_scenes import on_old_password, pushed, standby, started

SILENT = Reason.VAULT_NO_ANSWER


def silent_push(*, gives_up: bool = False) -> World:
    """Return a client in standby whose vault did not answer the write of a pushed password.

    `gives_up`: the adapter itself gives up the write.
    """
    if gives_up:
        world = standby()
        world.vault_reason = SILENT
        world.change(P2)
        world.vault_reason = None
    else:
        world = pushed("vault")
        world.advance(ANSWER_S + 1)
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.view.vault_problem is SILENT
    return world


# --- the vault


def test_a_vault_that_does_not_answer_a_read() -> None:
    """After 90 s it is a reason to retry; a late answer alone changes nothing, a new read does."""
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


def test_a_silent_vault_is_not_asked_again_and_again() -> None:
    """The unanswered request serves every later try, and its answer is used."""
    world = started("vault")
    world.advance(86_400)
    assert len(world.vault_jobs) == 1
    world.tell(ev.ReconnectRequested())
    world.release("vault")
    world.assert_updated(P1)


def test_a_late_read_is_repeated_after_a_later_write() -> None:
    """Its answer would be older than the write."""
    world = started("vault")
    world.advance(ANSWER_S + 1)
    request = world.log_out()
    world.advance(ANSWER_S + 1)
    again = world.log_in(P1)
    world.release("vault")
    assert world.replies == {request: SILENT, again: None}
    world.assert_updated(P1)


def test_each_request_has_the_whole_time() -> None:
    """The vault answers one after the other; the time of the second starts with its turn."""
    world = standby()
    world.hold = {"vault"}
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


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_pushed_password_that_the_vault_does_not_store(*, gives_up: bool) -> None:
    """The server is informed; a vault that may still write is read before the next write."""
    world = silent_push(gives_up=gives_up)
    assert [each.reason for each in world.failed] == ["vault"]
    world.performed.clear()
    world.hold = {"vault"}
    world.advance(89)
    assert len(world.seen(do.ReadVault)) == 1
    assert world.seen(do.WriteVault) == []
    world.release("vault")
    world.assert_updated()


def test_a_commit_that_the_vault_does_not_store() -> None:
    """The password in memory still logs in, and the vault is read before it is written again."""
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


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_typed_password_that_the_vault_does_not_store(identity: Identity) -> None:
    """The user is informed; whatever the vault writes later, a password that works stays in use."""
    world = on_old_password()
    world.accounts[OTHER.user].password = P2
    world.hold = {"vault"}
    request = world.log_in(P2, identity)
    assert world.seen(do.SaveState) == [], "what is known of the stored password stays"
    world.advance(ANSWER_S + 1)
    assert world.replies == {request: SILENT}
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    assert world.view.vault_problem is SILENT
    world.release("vault")
    world.advance(ANSWER_S + 100)
    assert (world.settings, list(world.vault)) == (HOME, [HOME])
    world.restart()
    assert world.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}


def test_a_first_password_that_the_vault_stores_late() -> None:
    """A first password stored late, after the user got an error, is found and used."""
    world = World(stored=None)
    world.start()
    world.hold = {"vault"}
    request = world.log_in(P1)
    world.advance(ANSWER_S + 1)
    assert world.replies == {request: SILENT}
    assert world.is_in(State.CONNECTING)
    world.release("vault")
    assert world.is_in(State.STANDBY)


@pytest.mark.parametrize("network", ["works", "fails", "connects"])
def test_a_read_that_fails_again(network: str) -> None:
    """The client keeps asking the vault, whatever the network does, and stores the push then."""
    world = silent_push()
    world.online = network != "fails"
    if network != "works":
        world.cut()
    if network == "connects":
        world.advance(10)
        world.hold.add("connect")
        world.tell(ev.ReconnectRequested())
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    world.advance(55 if network == "connects" else 300)
    states = {"works": State.STANDBY_OLD_PASSWORD, "fails": State.RETRYING}
    assert world.state is states.get(network, State.CONNECTING)
    assert world.view.vault_problem is Reason.VAULT_LOCKED
    world.vault_reason, world.online = None, True
    world.release("connect")
    world.advance(400)
    world.assert_updated()


def test_a_password_refused_while_the_vault_is_unknown() -> None:
    """The refused password is not sent, and is marked once the vault was read again."""
    world = pushed("proof")
    world.vault_reason = SILENT
    world.release("proof")
    assert world.view.vault_problem is SILENT
    world.home.password, world.home.retired = P3, []
    world.tell(ev.ReconnectRequested())
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)
    world.vault_reason = None
    world.advance(200)
    assert world.tried.count(P2) == 2
    assert world.vault[HOME].refused is None, "P1 has not been tried"
    assert world.is_in(State.NEEDS_PASSWORD, Reason.CREDENTIALS)


def test_a_pending_password_proved_while_the_vault_is_unknown() -> None:
    """The proved password is used at once, and committed once the vault was read again."""
    world = World(pending=P2)
    world.online = False
    world.start()
    world.online, world.home.password = True, P2
    world.vault_reason = SILENT
    assert world.replies[world.log_in(P1)] is Reason.CREDENTIALS
    assert world.is_in(State.STANDBY)
    assert world.vault[HOME].pending is not None
    world.vault_reason = None
    world.advance(91)
    world.assert_updated()


@pytest.mark.parametrize("end", ["login expires", "user reconnects", "network fails"])
def test_an_entry_that_disappears_while_the_client_waits(end: str) -> None:
    """The login in force goes on; at its end the client is logged out."""
    world = silent_push(gives_up=True)
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


# --- the connection, the desktop, everything


@pytest.mark.parametrize(
    ("held", "seconds", "phase"),
    [
        ("connect", CONNECT_S, "connecting"),
        ("server", LOGIN_S, "challenge"),
        ("proof", LOGIN_S, "key_derivation"),
    ],
)
def test_a_connection_that_comes_to_nothing(held: Kind, seconds: float, phase: str) -> None:
    """Each phase has a limit, beside the adapter's own; at its end the client tries again later."""
    world = started(held)
    world.advance(seconds - 0.1)
    assert world.is_in(State.CONNECTING)
    assert Timer.RETRY not in world.timers
    world.advance(0.2)
    assert world.is_in(State.RETRYING, Reason.TIMED_OUT)
    assert world.machine.failure == Failure(Reason.TIMED_OUT, detail=phase)
    assert world.seen(do.Disconnect)[0] == do.Disconnect(1, None)


def test_a_push_whose_proof_is_never_answered() -> None:
    """The connection is given up, and the pending password tried first on the next one."""
    world = pushed("proof")
    world.advance(LOGIN_S + 0.1)
    assert world.is_in(State.RETRYING, Reason.TIMED_OUT)
    world.proof_jobs.clear()
    world.release("proof")
    world.advance(10)
    world.assert_updated()


def test_a_pending_password_is_an_update_only_in_standby() -> None:
    """At the start the client connects; in standby the user sees that a password is updated."""
    world = pushed("proof")
    assert world.is_in(State.UPDATING)
    world.hold = {"vault", "proof"}
    world.restart()
    world.release("vault")
    assert world.is_in(State.CONNECTING)
    world.release("proof")
    assert world.is_in(State.STANDBY)
    world.hold = {"vault"}
    world.change(P3)
    world.cut()
    world.advance(10)
    assert world.is_in(State.STANDBY_OLD_PASSWORD)
    world.hold = {"proof"}
    world.run()
    assert world.is_in(State.UPDATING)


def test_a_login_that_expires_while_a_typed_password_is_stored() -> None:
    """The vault decides; when it fails, the stored password is tried as before."""
    world = on_old_password()
    world.hold = {"vault"}
    request = world.log_in(P2)
    world.session.say(msg.Rejected(reason="expired"))
    world.run()
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert world.tried == [P1, P2, P1]
    assert world.is_in(State.STANDBY_OLD_PASSWORD)


def test_a_desktop_that_does_not_answer() -> None:
    """A warning without an answer counts as unseen after a minute; a late answer counts, too."""
    world = on_old_password()
    world.hold = {"toast"}
    world.come()
    world.advance(TOAST_S - 0.1)
    assert world.notices == []
    world.advance(0.2)
    assert world.notices == [msg.Notice(warning=msg.WarningOutcome.UNSEEN, days_left=30)]
    world.release("toast")
    assert world.notices[1:] == [msg.Notice(warning=msg.WarningOutcome.SHOWN, days_left=30)]
    world.tell(ev.TimerFired(Timer.TOAST))
    assert len(world.notices) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_is_answered_whatever_hangs(kind: Kind) -> None:
    """With one kind of answer withheld, no request and no state waits for ever."""
    world = standby()
    world.hold = {kind}
    for number in (world.log_in(WRONG), world.log_in(P1, OTHER), world.log_out()):
        world.advance(2 * ANSWER_S + CONNECT_S + LOGIN_S)
        assert number in world.replies
        assert world.state not in {State.CONNECTING, State.UPDATING}


def test_late_events_do_nothing() -> None:
    """A timer may fire while it is stopped; answers to no request, or of an old connection, too."""
    world = standby()
    world.tell(ev.ReconnectRequested())
    for timer in (Timer.RETRY, Timer.CONNECTION, Timer.VAULT_RETRY, Timer.WARNING):
        assert world.tell(ev.TimerFired(timer)) == []
    world.hold = {"vault"}
    world.change(P2)
    for event in (
        ev.VaultWritten(99),
        ev.VaultRead(99, None),
        ev.VaultFailed(99, Reason.VAULT_BROKEN),
        ev.TimerFired(Timer.RETRY),
        ev.Connected(1),
        ev.Received(1, msg.Bye(reason="superseded")),
        ev.ProofReady(1, "x"),
        ev.ProofRefused(1, Failure(Reason.PROTOCOL)),
        ev.Disconnected(1, Failure(Reason.CONNECTION_LOST)),
    ):
        assert world.tell(event) == []
    world.release("vault")
    world.assert_updated()
    assert list(world.sessions) == [1, 2]


def test_a_defect_kills_the_machine_and_leaves_nothing_half_done() -> None:
    """The error comes out, no effect with it, and every later event is ignored."""
    world = standby()
    world.hold = {"proof"}
    world.tell(ev.ReconnectRequested())
    proof = ev.ProofReady(2, "c=biws,r=x,p=QUJD")
    world.machine.handle(proof, world.now)
    with pytest.raises(IllegalTransition):
        world.machine.handle(proof, world.now)
    assert world.state is world.view.state is State.STOPPED
    for event in (ev.QuitRequested(), ev.Disconnected(2, Failure(Reason.CONNECTION_LOST))):
        assert world.machine.handle(event, world.now) == []
