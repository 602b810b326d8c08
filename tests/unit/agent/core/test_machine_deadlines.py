"""Whatever does not answer, and whatever is defect: the client goes on, or ends at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.core import effects as do
from agent.core import events as ev
from agent.core.connection_state import CONNECT_S, LOGIN_S
from agent.core.credential_cache import ANSWER_S
from agent.core.credentials import Credentials, Pending
from agent.core.events import Timer
from agent.core.failure import Failure, Reason
from agent.core.password_warnings import TOAST_S, Warned
from agent.core.state import State
from agent.core.transitions import IllegalTransition
from protocol import messages as msg
from tests.support.core_driver import HOME, KINDS, OTHER, P1, P2, P3, WRONG, Kind, World
from tests.support.core_effects import kinds


def waiting() -> World:
    world = World()
    world.start()
    assert world.state is State.STANDBY
    return world


# --- the vault


def test_a_vault_that_does_not_answer_a_read() -> None:
    """After 90 s it is a reason to retry; a late answer alone changes nothing, a new read does."""
    world = World()
    world.hold = {"vault"}
    world.start()
    world.advance(ANSWER_S - 0.1)
    assert world.view.state is State.CONNECTING
    world.advance(0.2)
    assert world.state is State.RETRYING
    assert world.view.reason is world.view.vault_problem is Reason.VAULT_NO_ANSWER
    world.step("vault")
    assert world.view.vault_problem is Reason.VAULT_NO_ANSWER
    world.release("vault")
    world.tell(ev.ReconnectRequested())
    assert world.machine.state is State.STANDBY
    assert world.view.vault_problem is None


def test_a_silent_vault_is_not_asked_again_and_again() -> None:
    """The request that is still unanswered serves every later try, and its answer is used."""
    world = World()
    world.hold = {"vault"}
    world.start()
    world.advance(86_400)
    assert len(world.vault_jobs) == 1
    world.tell(ev.ReconnectRequested())
    world.release("vault")
    assert world.state is State.STANDBY


def test_a_late_read_is_repeated_after_a_later_write() -> None:
    """Its answer would be older than the write."""
    world = World()
    world.hold = {"vault"}
    world.start()
    world.advance(ANSWER_S + 1)
    request = world.log_out()
    world.advance(ANSWER_S + 1)
    again = world.sign_in(P1)
    world.release("vault")
    assert world.replies == {request: Reason.VAULT_NO_ANSWER, again: None}
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P1


def test_each_request_has_the_whole_time() -> None:
    """The vault answers one after the other; the clock of the second starts with its turn."""
    world = waiting()
    world.hold = {"vault"}
    first, second = world.log_out(), world.log_out()
    world.advance(60)
    while not world.replies:
        world.step("vault")
    assert world.timers[Timer.VAULT_ANSWER] - world.steady == ANSWER_S
    world.advance(ANSWER_S - 1)
    assert world.replies == {first: None}
    world.advance(2)
    assert world.replies == {first: None, second: Reason.VAULT_NO_ANSWER}
    assert Timer.VAULT_ANSWER not in world.timers


def test_a_pushed_password_that_the_vault_does_not_store() -> None:
    """The client reports it, stays in standby, and stores it when the vault answers."""
    world = waiting()
    world.hold = {"vault"}
    change = world.change(P2)
    world.advance(ANSWER_S + 1)
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    assert world.view.vault_problem is Reason.VAULT_NO_ANSWER
    assert world.failed == [msg.UpdateFailed(change_id=change, reason="vault")]
    world.release("vault")
    world.advance(91)
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P2
    assert world.view.vault_problem is None


def test_nothing_is_written_before_the_vault_was_read_again() -> None:
    """What the vault holds is not known after a timeout; the push is committed all the same."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.hold = {"vault"}
    world.release("proof")
    world.advance(ANSWER_S + 1)
    assert world.view.state is State.STANDBY
    world.cut()
    world.advance(10)
    assert world.view.state is State.STANDBY, "the password in memory still logs in"
    world.performed.clear()
    world.advance(ANSWER_S + 100)
    assert kinds(world.performed, only="WriteVault") == []
    world.release("vault")
    world.advance(ANSWER_S + 100)
    assert world.state is State.STANDBY
    assert (world.vault[HOME].password, world.vault[HOME].pending) == (P2, None)
    assert world.view.vault_problem is None


@pytest.mark.parametrize("identity", [HOME, OTHER])
def test_a_typed_password_that_the_vault_does_not_store(identity: object) -> None:
    """The user gets the reason; whatever the vault writes later, a working password is used."""
    world = waiting()
    world.accounts[OTHER.user].password = P2
    world.change(P2, push=False)
    world.hold = {"vault"}
    request = world.sign_in(P2, HOME if identity == HOME else OTHER)
    world.advance(ANSWER_S + 1)
    assert world.replies == {request: Reason.VAULT_NO_ANSWER}
    assert world.state is State.STANDBY_OLD_PASSWORD
    world.release("vault")
    world.advance(ANSWER_S + 100)
    assert world.settings == HOME
    assert list(world.vault) == [HOME]
    world.restart()
    assert world.state in {State.STANDBY, State.STANDBY_OLD_PASSWORD}


def test_a_write_that_the_adapter_gave_up() -> None:
    """The vault may still carry it out, so it is read before anything else is written."""
    world = waiting()
    world.vault_reason = Reason.VAULT_NO_ANSWER
    world.change(P2)
    assert world.state is State.STANDBY_OLD_PASSWORD
    world.vault_reason = None
    world.performed.clear()
    world.advance(91)
    vault_effects = [each for each in kinds(world.performed) if "Vault" in each]
    assert vault_effects == ["ReadVault", "WriteVault PENDING", "WriteVault COMMIT"]
    assert world.vault[HOME].password == P2


def test_a_first_password_that_the_vault_stores_late() -> None:
    """The user was told that it failed; the entry is found when the vault answers again."""
    world = World(stored=None)
    world.start()
    world.hold = {"vault"}
    request = world.sign_in(P1)
    world.advance(ANSWER_S + 1)
    assert world.replies == {request: Reason.VAULT_NO_ANSWER}
    assert world.view.state is State.CONNECTING
    world.release("vault")
    assert world.state is State.STANDBY


def test_a_read_that_fails_again_while_logged_in() -> None:
    """The client stays in standby and keeps asking the vault."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    world.advance(ANSWER_S + 1)
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    world.advance(300)
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    assert world.view.vault_problem is Reason.VAULT_LOCKED
    world.vault_reason = None
    world.advance(91)
    assert world.vault[HOME].password == P2


def test_a_vault_that_is_silent_while_the_network_is_away() -> None:
    """It is read again all the same, so that a later push is stored."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    world.advance(ANSWER_S + 1)
    world.online = False
    world.cut()
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    world.advance(200)
    world.vault_reason, world.online = None, True
    world.advance(400)
    assert world.state is State.STANDBY
    assert (world.vault[HOME].password, world.vault[HOME].pending) == (P2, None)


def test_a_refusal_that_the_vault_stores_late() -> None:
    """The mark reaches the vault when it answers again, though nothing else is to do."""
    world = World()
    world.home.password = P2
    world.hold = {"server"}
    world.start()
    world.hold = {"vault"}
    world.run()
    assert world.view.state is State.NEEDS_PASSWORD
    world.advance(ANSWER_S + 1)
    world.vault_jobs.clear()
    world.release("vault")
    world.advance(100)
    assert world.vault[HOME].refused == "credentials"
    assert world.state is State.NEEDS_PASSWORD
    assert world.view.vault_problem is None


def test_a_password_refused_while_the_vault_is_unknown() -> None:
    """It is marked when the vault was read again, and not sent until then."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.vault_reason = Reason.VAULT_NO_ANSWER
    world.release("proof")
    assert world.view.vault_problem is Reason.VAULT_NO_ANSWER
    world.home.password, world.home.retired = P3, []
    world.tell(ev.ReconnectRequested())
    assert world.view.state is State.NEEDS_PASSWORD
    world.vault_reason = None
    world.advance(200)
    assert world.tried.count(P2) == 2
    assert world.vault[HOME].refused is None, "P1 has not been tried"
    assert world.state is State.NEEDS_PASSWORD


def test_a_pending_password_proved_while_the_vault_is_unknown() -> None:
    """It is used at once, and committed when the vault was read again."""
    world = World()
    pending = Pending(change_id="a" * 32, password=P2)
    world.vault[HOME] = replace(world.vault[HOME], pending=pending)
    world.online = False
    world.start()
    world.online, world.home.password = True, P2
    world.vault_reason = Reason.VAULT_NO_ANSWER
    request = world.sign_in(P1)
    assert world.replies == {request: Reason.CREDENTIALS}
    assert world.view.state is State.STANDBY
    assert world.vault[HOME].pending is not None
    world.vault_reason = None
    world.advance(91)
    assert world.state is State.STANDBY
    assert (world.vault[HOME].password, world.vault[HOME].pending) == (P2, None)


def test_an_entry_that_disappears_while_the_client_waits() -> None:
    """The login in force goes on; at its end there is nothing to log in with."""
    world = waiting()
    world.vault_reason = Reason.VAULT_NO_ANSWER
    world.change(P2)
    world.vault_reason = None
    world.vault.clear()
    world.advance(91)
    assert world.view.state is State.STANDBY_OLD_PASSWORD
    world.home.retired.clear()
    world.advance(1)
    assert world.state is State.LOGGED_OUT
    assert world.view.reason is None


@pytest.mark.parametrize("online", [True, False])
def test_an_entry_that_disappears_and_a_connection_that_ends(online: bool) -> None:
    """Whether the client reconnects at once or was waiting to, it is logged out then."""
    world = waiting()
    world.vault_reason = Reason.VAULT_NO_ANSWER
    world.change(P2)
    world.online = online
    world.vault.clear()
    if online:
        world.vault_reason = None
        world.advance(91)
        world.tell(ev.ReconnectRequested())
    else:
        world.cut()
        world.vault_reason = None
        world.advance(400)
    assert world.state is State.LOGGED_OUT


def test_an_older_push_does_not_replace_a_newer_one() -> None:
    """The first cannot be stored while the second waits: only the second is kept."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    world.change(P3)
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    world.vault_reason = None
    world.advance(91)
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P3
    assert P2 not in world.tried


# --- the device's key


def test_the_vault_is_read_again_before_a_key_is_made() -> None:
    """A login while the vault is locked, or not read yet, keeps the key: it stays one PC."""
    world = World()
    key = world.vault[HOME].device_key
    world.vault_reason = Reason.VAULT_LOCKED
    world.start()
    assert world.view.reason is Reason.VAULT_LOCKED
    world.vault_reason = None
    world.change(P2)
    request = world.sign_in(P2)
    assert world.replies == {request: None}
    assert world.vault[HOME] == Credentials(password=P2, device_key=key)


def test_a_vault_that_stays_locked_does_not_hold_up_the_answer() -> None:
    """The second read fails, too: the password is tried, and cannot be stored."""
    world = World()
    world.vault_reason = Reason.VAULT_LOCKED
    world.start()
    request = world.sign_in(P1)
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert world.tried == [P1]
    assert world.state is State.RETRYING


# --- refused passwords


@pytest.mark.parametrize("held", [True, False])
def test_a_refused_password_is_not_sent_when_the_vault_opens(held: bool) -> None:
    """Typed and refused while the vault was locked or silent, then found to be the stored one."""
    world = World()
    world.home.password = P2
    world.hold = {"vault"} if held else set()
    world.vault_reason = None if held else Reason.VAULT_LOCKED
    world.start()
    request = world.sign_in(P1)
    world.advance(ANSWER_S + 1)
    assert world.replies == {request: Reason.CREDENTIALS}
    world.vault_reason = None
    world.release("vault")
    world.advance(7200)
    assert world.state is State.NEEDS_PASSWORD
    assert world.tried == [P1]
    assert world.vault[HOME].refused == "credentials"


def test_a_refused_password_may_be_typed_again() -> None:
    """The user's word counts: it is tried once more, and kept when the server takes it."""
    world = World()
    world.home.password = P2
    world.start()
    assert world.state is State.NEEDS_PASSWORD
    world.home.password = P1
    request = world.sign_in(P1)
    assert world.replies == {request: None}
    world.tell(ev.ReconnectRequested())
    assert world.view.state is State.STANDBY
    assert world.vault[HOME].refused is None


def test_a_refused_password_that_is_pushed_is_tried() -> None:
    """Refused before it was the user's password, it is pushed when it is."""
    world = waiting()
    world.sign_in(P2)
    assert world.tried == [P1, P2]
    world.change(P2)
    assert world.tried == [P1, P2, P2]
    assert world.state is State.STANDBY
    world.tell(ev.ReconnectRequested())
    assert world.state is State.STANDBY


def test_another_users_refused_password_is_another_one() -> None:
    """The same word may be right for another user."""
    world = waiting()
    world.accounts[OTHER.user].password = P3
    assert world.replies[world.sign_in(P1, OTHER)] is Reason.CREDENTIALS
    world.tell(ev.ReconnectRequested())
    assert world.state is State.STANDBY


# --- the connection, the desktop, everything


def test_a_connection_that_is_never_opened() -> None:
    """The adapter has a limit of its own; when it fails to keep it, the machine does."""
    world = World()
    world.hold = {"connect"}
    world.start()
    world.advance(CONNECT_S - 0.1)
    assert world.view.state is State.CONNECTING
    world.advance(0.2)
    assert world.view.reason is Reason.TIMED_OUT
    assert "Disconnect" in kinds(world.performed)


def test_a_key_derivation_that_never_ends() -> None:
    """The login's limit covers it."""
    world = World()
    world.hold = {"proof"}
    world.start()
    world.advance(LOGIN_S + 0.1)
    assert world.view.reason is Reason.TIMED_OUT
    assert world.machine.client.failure == Failure(Reason.TIMED_OUT, detail="key_derivation")


def test_a_push_whose_proof_is_never_answered() -> None:
    """The connection is given up, and the pending password tried first on the next one."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    world.advance(LOGIN_S + 0.1)
    assert world.view.state is State.RETRYING
    world.proof_jobs.clear()
    world.release("proof")
    world.advance(10)
    assert world.state is State.STANDBY
    assert world.vault[HOME].password == P2


def warned(world: World) -> Warned:
    """As it is now."""
    return world.machine.client.warnings.state


def shown(world: World) -> State:
    """As it is now."""
    return world.view.state


def test_a_warning_that_was_seen() -> None:
    """Its timer is stopped, and the next sign-in waits for its own warning."""
    world = waiting()
    world.come("s1")
    assert warned(world) is Warned.NOT_DUE
    world.change(P2, push=False)
    world.come("s2")
    assert warned(world) is Warned.SEEN
    assert Timer.TOAST not in world.timers
    world.advance(100)
    assert [each.warning for each in world.notices] == ["shown"]


def test_a_pending_password_is_an_update_only_in_standby() -> None:
    """At the start the client connects; in standby the user sees that a password is updated."""
    world = waiting()
    world.hold = {"proof"}
    world.change(P2)
    assert shown(world) is State.UPDATING
    world.hold = {"vault", "proof"}
    world.kill()
    world.start()
    world.release("vault")
    assert shown(world) is State.CONNECTING
    world.release("proof")
    assert world.state is State.STANDBY
    world.hold = {"vault"}
    world.change(P3)
    world.cut()
    world.advance(10)
    assert shown(world) is State.STANDBY_OLD_PASSWORD
    world.hold = {"proof"}
    world.run()
    assert shown(world) is State.UPDATING


def test_a_login_that_expires_while_a_typed_password_is_stored() -> None:
    """The vault decides; when it fails, the stored password is tried as before."""
    world = waiting()
    world.change(P2, push=False)
    world.hold = {"vault"}
    request = world.sign_in(P2)
    world.session.say(msg.Rejected(reason="expired"))
    world.run()
    world.vault_reason = Reason.VAULT_LOCKED
    world.release("vault")
    assert world.replies == {request: Reason.VAULT_LOCKED}
    assert world.tried == [P1, P2, P1]
    assert world.state is State.STANDBY_OLD_PASSWORD


def test_a_desktop_that_does_not_answer() -> None:
    """A warning without an answer counts as failed after a minute; a late answer counts, too."""
    world = waiting()
    world.change(P2, push=False)
    world.hold = {"toast"}
    world.come()
    world.advance(TOAST_S - 0.1)
    assert world.notices == []
    world.advance(0.2)
    assert world.notices == [msg.Notice(warning="failed", days_left=30)]
    world.release("toast")
    assert world.notices[1:] == [msg.Notice(warning="shown", days_left=30)]
    world.tell(ev.TimerFired(Timer.TOAST))
    assert len(world.notices) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_is_answered_whatever_hangs(kind: Kind) -> None:
    """With one kind of answer withheld, no request and no state waits for ever."""
    world = waiting()
    world.hold = {kind}
    for number in (world.sign_in(WRONG), world.sign_in(P1, OTHER), world.log_out()):
        world.advance(2 * ANSWER_S + CONNECT_S + LOGIN_S)
        assert number in world.replies
        assert world.state not in {State.CONNECTING, State.UPDATING}


# --- defects


def test_a_defect_kills_the_machine_and_leaves_nothing_half_done() -> None:
    """The error comes out, no effect with it, and every later event is ignored."""
    world = waiting()
    world.hold = {"proof"}
    world.tell(ev.ReconnectRequested())
    proof = ev.ProofReady(2, "c=biws,r=x,p=QUJD")
    world.machine.handle(proof, world.now)
    with pytest.raises(IllegalTransition):
        world.machine.handle(proof, world.now)
    assert world.state is world.view.state is State.STOPPED
    for event in (ev.QuitRequested(), ev.Disconnected(2, Failure(Reason.CONNECTION_LOST))):
        assert world.machine.handle(event, world.now) == []


def test_the_queue_of_the_vault_goes_on_after_unknown_answers() -> None:
    """An answer to no request is ignored, and the next one still counts."""
    world = waiting()
    world.hold = {"vault"}
    world.change(P2)
    for event in (
        ev.VaultWritten(99),
        ev.VaultRead(99, None),
        ev.VaultFailed(99, Reason.VAULT_BROKEN),
        ev.TimerFired(Timer.RETRY),
    ):
        assert world.tell(event) == []
    world.release("vault")
    assert world.vault[HOME].password == P2
    assert not any(isinstance(each, do.Disconnect) for each in world.performed)
