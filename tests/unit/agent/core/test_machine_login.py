"""A client connects and logs in from its start to standby, and tries again after failures."""

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
from tests.support.core_driver import BEGIN, HOME, P1, P2, World, standby


def until_retry(world: World) -> float:
    """Return the seconds until the next try."""
    return world.timers[Timer.RETRY] - world.steady


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
def test_nothing_stored_is_logged_out(stored: str | None) -> None:
    """Without an identity, or with an empty vault, the client waits for its user."""
    world = World(stored=None, identity=None if stored else HOME)
    world.start()
    assert world.is_in(State.LOGGED_OUT)
    assert world.seen(do.Connect) == []


def test_network_trouble_is_retried_for_ever_with_growing_delays() -> None:
    """Each failure waits longer, up to the longest delay; the view says when the next try is."""
    world = World()
    world.online = False
    world.start()
    delays = []
    for _ in range(12):
        assert world.is_in(State.RETRYING, Reason.UNREACHABLE)
        delay = until_retry(world)
        assert world.view.next_try_at == world.now.wall + timedelta(seconds=delay)
        delays.append(delay)
        world.advance(delay)
    assert delays == sorted(delays)
    assert delays[0] < 4
    assert 100 < delays[-1] <= 300
    world.online = True
    world.advance(300)
    assert world.is_in(State.STANDBY)
    assert world.view.next_try_at is None


def test_delays_begin_again_only_after_a_login_that_lasted() -> None:
    """An open connection, an impostor's welcome and a login of half a minute do not count."""
    world = World()
    world.impostor = True
    world.start()
    for tries in range(1, 4):
        assert world.machine.client.tries == tries
        assert world.view.reason is Reason.IMPOSTOR
        world.advance(3600 if tries == 3 else until_retry(world))
    world.impostor = False
    world.advance(3600)
    for tries in (1, 2, 3):
        world.cut()
        assert world.machine.client.tries == tries
        world.advance(until_retry(world) + 30)
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
    assert until_retry(world) < 1.2
    world.advance(1.2)
    assert world.state is State.STANDBY


def test_a_network_change_probes_an_open_connection() -> None:
    """The connection can be dead although no error has come."""
    world = standby()
    world.tell(ev.NetworkChanged())
    assert world.performed == [do.Probe(1)]
    assert world.is_in(State.STANDBY)


@pytest.mark.parametrize(
    ("reason", "hurries"),
    [
        (Reason.DISABLED, False),
        (Reason.TOO_MANY_REQUESTS, False),
        (Reason.IMPOSTOR, False),
        (Reason.CERTIFICATE, True),
        (Reason.PROXY_LOGIN, True),
        (Reason.NOT_A_GATEWAY, True),
    ],
)
def test_another_network_hurries_what_a_network_causes(reason: Reason, *, hurries: bool) -> None:
    """Leaving a hotel's portal helps; what the server has said stays, for tens of seconds."""
    world = World()
    world.hold = {"connect"}
    world.start()
    world.tell(ev.Disconnected(1, Failure(reason)))
    assert world.is_in(State.RETRYING, reason)
    assert until_retry(world) >= 6
    world.tell(ev.NetworkChanged())
    assert (until_retry(world) < 1.2) is hurries


def test_the_user_wants_a_try_now() -> None:
    """A reconnect by the user overrides any delay, and replaces an open connection."""
    world = World()
    world.online = False
    world.start()
    world.online = True
    world.tell(ev.ReconnectRequested())
    assert world.is_in(State.STANDBY)
    assert list(world.sessions) == [2]
    world.tell(ev.ReconnectRequested())
    assert [each.closed for each in world.sessions.values()] == [True, False]
    assert world.is_in(State.STANDBY)


def test_the_servers_least_wait_is_kept() -> None:
    """`retry_after_s` of a rejection is the least that the client waits."""
    world = World()
    world.throttle_s = 600
    world.start()
    assert world.view.reason is Reason.THROTTLED
    assert until_retry(world) >= 600
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
    world = standby()
    world.session.say(bye)
    world.run()
    assert world.is_in(State.RETRYING, reason)
    assert until_retry(world) >= least
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
    assert world.is_in(State.RETRYING, Reason.TIMED_OUT)


LOOSE = [
    msg.Challenge(scram="r=x,s=QUJDREVGR0hJSktMTU5P,i=600000"),
    msg.Welcome(scram="v=QUJD", password="current", server_time=BEGIN),
    msg.Rejected(reason="credentials"),
]


@pytest.mark.parametrize("message", LOOSE)
def test_a_message_out_of_order_ends_the_connection(message: msg.ServerMessage) -> None:
    """A server that answers or refuses what the client has not sent is not believed."""
    world = standby()
    world.session.say(message)
    world.run()
    assert world.is_in(State.RETRYING, Reason.PROTOCOL)
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
def test_before_a_login_only_a_challenge_is_accepted(message: msg.ServerMessage) -> None:
    """A server that answers `hello` with anything else has not proved itself."""
    world = World()
    world.hold = {"server"}
    world.start()
    world.inbox.clear()
    world.session.say(message)
    world.release("server")
    assert world.is_in(State.RETRYING, Reason.PROTOCOL)
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
    """A welcome with a wrong signature changes nothing, and the user is informed."""
    world = World()
    world.impostor = True
    world.home.retired.append((P1, BEGIN + timedelta(days=5)))
    world.home.password = P2
    before = dict(world.vault)
    world.start()
    assert world.is_in(State.RETRYING, Reason.IMPOSTOR)
    assert (world.view.days_left, world.view.console_url) == (None, None)
    assert world.vault == before
    assert world.memory == {}


def test_late_events_of_an_old_connection_do_nothing() -> None:
    """The machine ignores events with the number of an earlier connection."""
    world = standby()
    world.tell(ev.ReconnectRequested())
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
    """A timer may fire while it is being stopped."""
    world = standby()
    for timer in (Timer.RETRY, Timer.CONNECTION, Timer.VAULT_RETRY, Timer.WARNING):
        assert world.tell(ev.TimerFired(timer)) == []
    assert world.state is State.STANDBY


def test_the_end() -> None:
    """Quitting closes the connection and takes back a warning, once; then events are ignored."""
    world = standby()
    world.tell(ev.QuitRequested())
    for effect in (do.Disconnect(1), do.WithdrawWarning(), do.Quit()):
        assert world.performed.count(effect) == 1
    assert world.state is State.STOPPED
    assert world.tell(ev.ReconnectRequested()) == []
    assert world.tell(ev.QuitRequested()) == []
