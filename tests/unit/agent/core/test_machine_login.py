"""From the start to standby: connecting, logging in, trying again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.events import Timer
from agent.core.failure import Failure, Reason
from agent.core.state import State
from protocol import messages as msg
from protocol.sealing import device_id, public_key
from tests.support.core_driver import BEGIN, HOME, P1, P2, World
from tests.support.core_effects import kinds


def test_a_login_from_the_start_to_standby() -> None:
    """A login that goes well takes one connection and one proof, and leaves no timer."""
    world = World()
    assert world.view.state is State.CONNECTING
    world.start()
    assert world.state is State.STANDBY
    assert (list(world.sessions), world.tried, world.timers) == ([1], [P1], {})
    view = world.view
    assert (view.server, view.user) == (HOME.server, HOME.user)
    assert view.console_url == "https://console.example.com/"
    assert (view.reason, view.vault_problem) == (None, None)
    assert (view.days_left, view.valid_until, view.next_try_at) == (None, None, None)


def test_the_device_is_its_key() -> None:
    """`hello` carries the public half of the stored key and the id that belongs to it."""
    world = World()
    world.start()
    hello = world.session.hello
    assert hello is not None
    key = public_key(world.vault[HOME].device_key)
    assert hello.device == msg.Device(
        id=device_id(key), public_key=key, name="PC-4711", os="Windows 11", version="0.1.0"
    )


@pytest.mark.parametrize("stored", [None, P1])
def test_nothing_stored_is_signed_out(stored: str | None) -> None:
    """Without an identity, or with an empty vault, the client waits for its user."""
    world = World(stored=None, identity=None if stored else HOME)
    effects = world.start()
    assert world.state is State.LOGGED_OUT
    assert not [each for each in effects if isinstance(each, do.Connect)]


def test_network_trouble_is_retried_for_ever_with_growing_delays() -> None:
    """Each failure waits longer, up to the ceiling; the view says when the next try is."""
    world = World()
    world.online = False
    world.start()
    delays = []
    for _ in range(12):
        assert world.state is State.RETRYING
        assert world.view.reason is Reason.UNREACHABLE
        delay = world.timers[Timer.RETRY] - world.steady
        assert world.view.next_try_at == world.now.wall + timedelta(seconds=delay)
        delays.append(delay)
        world.advance(delay)
    assert delays == sorted(delays)
    assert delays[0] < 4
    assert 100 < delays[-1] <= 300
    world.online = True
    world.advance(300)
    assert world.state is State.STANDBY
    assert (world.view.reason, world.view.next_try_at) == (None, None)


def test_delays_start_again_only_after_a_login_that_lasted() -> None:
    """An open connection, an unsigned welcome or one that lasts no minute resets no delay."""
    world = World()
    world.impostor = True
    world.start()
    for tries in range(1, 4):
        assert world.machine.client.tries == tries
        assert world.view.reason is Reason.IMPOSTOR
        world.advance(3600 if tries == 3 else world.timers[Timer.RETRY] - world.steady)
    world.impostor = False
    world.advance(3600)
    assert world.state is State.STANDBY
    for tries in (1, 2, 3):
        world.cut()
        assert world.machine.client.tries == tries
        world.advance(world.timers[Timer.RETRY] - world.steady + 30)
        assert world.state is State.STANDBY
    world.advance(60)
    world.cut()
    assert world.machine.client.tries == 1


def test_a_network_change_tries_at_once() -> None:
    """Resume, unlock or another network: within about a second, whatever the delay was."""
    world = World()
    world.online = False
    world.start()
    world.advance(2000)
    world.online = True
    world.tell(ev.NetworkChanged())
    assert world.timers[Timer.RETRY] - world.steady < 1.2
    world.advance(1.2)
    assert world.state is State.STANDBY


def test_a_network_change_probes_a_connection_that_stands() -> None:
    """The connection may be dead without knowing it."""
    world = World()
    world.start()
    assert kinds(world.tell(ev.NetworkChanged())) == ["Probe"]
    assert world.state is State.STANDBY


def troubled(reason: Reason) -> World:
    """Return a client that waits after `reason` and has noticed another network."""
    world = World()
    world.hold = {"connect"}
    world.start()
    world.tell(ev.Disconnected(1, Failure(reason)))
    assert world.view.reason is reason
    assert world.timers[Timer.RETRY] - world.steady >= 6
    world.tell(ev.NetworkChanged())
    return world


@pytest.mark.parametrize("reason", [Reason.DISABLED, Reason.TOO_MANY_REQUESTS, Reason.IMPOSTOR])
def test_what_the_server_has_said_is_not_hurried(reason: Reason) -> None:
    """A network change does not help there, and the first delay is tens of seconds."""
    world = troubled(reason)
    assert world.timers[Timer.RETRY] - world.steady >= 6


@pytest.mark.parametrize("reason", [Reason.CERTIFICATE, Reason.PROXY_LOGIN, Reason.NOT_A_GATEWAY])
def test_the_trouble_of_a_network_is_left_behind_with_it(reason: Reason) -> None:
    """From the hotel's portal to the office: the next try is not half an hour away."""
    world = troubled(reason)
    assert world.timers[Timer.RETRY] - world.steady < 1.2


def test_try_now_by_the_user() -> None:
    """The user's wish overrides any delay, and replaces an open connection."""
    world = World()
    world.online = False
    world.start()
    world.online = True
    world.tell(ev.ReconnectRequested())
    assert world.state is State.STANDBY
    effects = world.tell(ev.ReconnectRequested())
    assert kinds(effects)[:2] == ["Disconnect", "Connect"]
    assert world.state is State.STANDBY


def test_the_servers_least_wait_is_kept() -> None:
    """`retry_after_s` of a rejection is the least that the client waits."""
    world = World()
    world.throttle_s = 600
    world.start()
    assert world.view.reason is Reason.THROTTLED
    assert world.timers[Timer.RETRY] - world.steady >= 600
    world.throttle_s = 0
    world.advance(700)
    assert world.state is State.STANDBY


@pytest.mark.parametrize(
    ("bye", "reason", "least"),
    [
        (msg.Bye(reason="superseded"), Reason.SUPERSEDED, 300),
        (msg.Bye(reason="shutting_down", retry_after_s=20), Reason.SHUTTING_DOWN, 20),
        (msg.Bye(reason="disabled"), Reason.DISABLED, 6),
        (msg.Bye(reason="blocked"), Reason.BLOCKED, 6),
    ],
)
def test_a_bye_is_a_reason_to_wait(bye: msg.Bye, reason: Reason, least: float) -> None:
    """The user sees why, and nothing in the vault changes."""
    world = World()
    world.start()
    world.session.say(bye)
    world.run()
    assert world.state is State.RETRYING
    assert world.view.reason is reason
    assert world.timers[Timer.RETRY] - world.steady >= least
    assert world.vault[HOME].refused is None


@pytest.mark.parametrize("says", ["disabled", "blocked"])
def test_a_disabled_user_comes_back_when_enabled(says: str) -> None:
    """The password was right, so it is kept and tried again, rarely."""
    world = World()
    world.home.says = says
    world.start()
    assert world.view.reason is Reason(says)
    world.home.says = None
    world.advance(7200)
    assert world.state is State.STANDBY


def test_a_silent_server_is_given_up_after_20_s() -> None:
    """The upgrade alone is no login."""
    world = World()
    world.hold = {"server"}
    world.start()
    world.advance(19.9)
    assert Timer.RETRY not in world.timers
    world.hold = set()
    world.inbox.clear()
    world.advance(0.2)
    assert world.state is State.RETRYING
    assert world.view.reason is Reason.TIMED_OUT


LOOSE = [
    msg.Challenge(scram="r=x,s=QUJDREVGR0hJSktMTU5P,i=600000"),
    msg.Welcome(scram="v=QUJD", password="current", server_time=BEGIN),
    msg.Rejected(reason="credentials"),
]


@pytest.mark.parametrize("message", LOOSE)
def test_a_message_out_of_order_ends_the_connection(message: msg.ServerMessage) -> None:
    """While the client waits, the server may not welcome or refuse what it has not sent."""
    world = World()
    world.start()
    world.session.say(message)
    world.run()
    assert world.state is State.RETRYING
    assert world.view.reason is Reason.PROTOCOL
    assert world.vault[HOME].refused is None


@pytest.mark.parametrize(
    "message",
    [
        *LOOSE[1:],
        msg.Rejected(reason="expired"),
        msg.PasswordStatus(password="current", server_time=BEGIN),
        msg.PasswordChanged(change_id="e" * 32, sealed="A" * 64, valid_until=BEGIN),
    ],
)
def test_before_a_login_only_a_challenge_is_heard(message: msg.ServerMessage) -> None:
    """A server that answers `hello` with anything else has proven nothing and is not believed."""
    world = World()
    world.hold = {"server"}
    world.start()
    world.inbox.clear()
    world.session.say(message)
    world.release("server")
    assert world.state is State.RETRYING
    assert world.view.reason is Reason.PROTOCOL
    assert (world.vault[HOME].refused, world.vault[HOME].pending) == (None, None)
    assert world.memory == {}


def test_an_unsafe_challenge_gets_no_answer() -> None:
    """Too few iterations: no proof leaves the PC."""
    world = World()
    world.hold = {"server"}
    world.start()
    world.inbox.clear()
    world.session.say(msg.Challenge(scram=f"r=c-{2:020}s,s=QUJDREVGR0hJSktMTU5P,i=4096"))
    world.release("server")
    assert world.view.reason is Reason.PROTOCOL
    assert world.tried == []


def test_an_impostor_changes_nothing() -> None:
    """A wrong signature: nothing of that welcome is believed, nothing stored, the user told."""
    world = World()
    world.impostor = True
    world.home.retired.append((P1, BEGIN + timedelta(days=5)))
    world.home.password = P2
    before = dict(world.vault)
    world.start()
    assert world.state is State.RETRYING
    assert world.view.reason is Reason.IMPOSTOR
    assert (world.view.days_left, world.view.console_url) == (None, None)
    assert world.vault == before
    assert world.memory == {}


def test_late_events_of_an_old_connection_do_nothing() -> None:
    """What an earlier connection still says is known by its number and dropped."""
    world = World()
    world.start()
    world.tell(ev.ReconnectRequested())
    assert world.machine.state is State.STANDBY
    for event in (
        ev.Connected(1),
        ev.Received(1, msg.Bye(reason="superseded")),
        ev.ProofReady(1, "x"),
        ev.ProofRefused(1, Failure(Reason.PROTOCOL)),
        ev.Disconnected(1, Failure(Reason.CONNECTION_LOST)),
    ):
        assert world.tell(event) == []
    assert world.state is State.STANDBY


def test_late_timers_do_nothing() -> None:
    """A timer that fired while it was being stopped."""
    world = World()
    world.start()
    for timer in (Timer.RETRY, Timer.CONNECTION, Timer.VAULT_RETRY, Timer.WARNING):
        assert world.tell(ev.TimerFired(timer)) == []
    assert world.state is State.STANDBY


def test_the_end() -> None:
    """Quitting closes, says so once, and nothing counts after it."""
    world = World()
    world.start()
    assert kinds(world.tell(ev.QuitRequested())) == ["Disconnect", "WithdrawWarning", "Quit"]
    assert world.state is State.STOPPED
    assert world.tell(ev.ReconnectRequested()) == []
    assert world.tell(ev.QuitRequested()) == []
