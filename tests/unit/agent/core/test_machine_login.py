"""A client connects, logs in, tries again after failures, and leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.connection_state import CONNECT_S, LOGIN_S
from agent.core.events import SignInKind, Timer
from agent.core.failure import Failure, Reason
from agent.core.state import State
from agent.core.transitions import IllegalTransition
from protocol import messages as msg
from protocol.messages import Farewell
from protocol.sealing import device_id, public_key
from tests.support.core_driver import BEGIN, HOME, P1, P2, Kind, World
from tests.support.core_scenes import standby, started


def until_retry(world: World) -> float:
    """Return the seconds until the next try."""
    return world.timers[Timer.RETRY] - world.steady


def test_a_login_from_the_start_to_standby() -> None:
    """A login takes one connection and one proof, leaves no timer, and uses the stored key."""
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
    key = public_key(world.vault[HOME].device_key)
    assert world.this_device == msg.Device(
        id=device_id(key), public_key=key, name="PC-4711", os="Windows 11", version="0.1.0"
    )


@pytest.mark.parametrize(("version", "is_newer"), [("0.2", True), ("0.1.0", False)])
@pytest.mark.parametrize("reason", ["version", "disabled"])
def test_a_newer_version(version: str, reason: str, *, is_newer: bool) -> None:
    """The view keeps the version that a welcome or a refusal named, if it is newer."""
    release = msg.Release(version=version, url="https://example.com/setup.exe")
    refused = reason == "version"
    world = started(newest=None if refused else release)
    assert world.view.newer == (release if is_newer and not refused else None)
    world.session.say(msg.Rejected(reason=reason, newest=release if refused else None))  # type: ignore[arg-type] # of two
    world.run()
    assert world.is_in(State.RETRYING, Reason(reason))
    assert world.view.newer == (release if is_newer else None)


def test_network_trouble_is_retried_for_ever_with_growing_delays() -> None:
    """After each failure the delay grows, up to the longest; the view has the next try's time."""
    world = started(online=False)
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
    """Delays do not start over after an open connection, a false welcome, or 30 s of login."""
    world = started(impostor=True)
    for tries in range(1, 4):
        assert world.machine.tries == tries
        assert world.view.reason is Reason.IMPOSTOR
        world.advance(3600 if tries == 3 else until_retry(world))
    world.impostor = False
    world.advance(3600)
    for tries in (1, 2, 3):
        world.cut()
        assert world.machine.tries == tries
        world.advance(until_retry(world) + 30)
        assert world.state is State.STANDBY
    world.advance(60)
    world.cut()
    assert world.machine.tries == 1


@pytest.mark.parametrize(
    "event",
    [
        ev.NetworkChanged(),
        ev.SignedIn("s1", SignInKind.CONNECT),
        ev.SignedIn("s1", SignInKind.UNLOCK),
        ev.ReconnectRequested(),
    ],
)
def test_what_ends_a_delay(event: ev.Event) -> None:
    """Resume, unlock and another network end a delay within 1.2 s; a user's request at once."""
    world = started(online=False)
    world.advance(2000)
    world.online = True
    world.tell(event)
    if not isinstance(event, ev.ReconnectRequested):
        assert 0 < until_retry(world) < 1.2
        world.advance(1.2)
    assert world.is_in(State.STANDBY)


def test_an_open_connection_is_probed_or_replaced() -> None:
    """A network change sends a ping on the open connection; the user's request replaces it."""
    world = standby()
    assert world.tell(ev.NetworkChanged()) == [do.Probe(1)]
    assert world.is_in(State.STANDBY)
    world.tell(ev.ReconnectRequested())
    assert [each.closed for each in world.sessions.values()] == [True, False]
    assert world.is_in(State.STANDBY)


@pytest.mark.parametrize(
    ("reason", "wait_s"),
    [
        (Reason.DISABLED, None),
        (Reason.IMPOSTOR, None),
        (Reason.CERTIFICATE, 0.6),
        (Reason.NOT_A_GATEWAY, 0.6),
        (Reason.PROXY_LOGIN, 200),  # 5 minutes after the failure: a proxy may lock accounts
    ],
)
def test_another_network_hurries_what_a_network_causes(reason: Reason, wait_s: float) -> None:
    """Another network shortens a delay that the network caused, not one by the server."""
    world = started("connect")
    world.tell(ev.Disconnected(1, Failure(reason)))
    assert world.is_in(State.RETRYING, reason)
    assert until_retry(world) >= 6
    if reason is Reason.PROXY_LOGIN:
        world.advance(100)
    before = until_retry(world)
    world.tell(ev.NetworkChanged())
    assert round(until_retry(world), 6) == (wait_s or before)


@pytest.mark.parametrize(
    ("message", "reason", "least"),
    [
        (msg.Bye(reason="superseded"), Reason.SUPERSEDED, 300),
        (msg.Bye(reason="shutting_down", retry_after_s=20), Reason.SHUTTING_DOWN, 20),
        (msg.Bye(reason="blocked"), Reason.BLOCKED, 6),
        (msg.Rejected(reason="throttled", retry_after_s=600), Reason.THROTTLED, 600),
    ],
)
def test_a_reason_to_wait(message: msg.ServerMessage, reason: Reason, least: float) -> None:
    """The view has the reason to wait, and the vault's entry does not change."""
    world = standby()
    world.session.say(message)
    world.run()
    assert world.is_in(State.RETRYING, reason)
    assert until_retry(world) >= least
    assert world.vault[HOME].refused is None


LOOSE = [
    msg.Welcome(scram="v=QUJD", password="current", server_time=BEGIN),
    msg.Rejected(reason="credentials"),
    msg.Challenge(scram="r=x,s=QUJDREVGR0hJSktMTU5P,i=600000"),
]


@pytest.mark.parametrize(
    ("waits", "message"),
    [
        *((True, message) for message in LOOSE),
        *((False, message) for message in LOOSE),
        (False, msg.Rejected(reason="expired")),
        (False, msg.PasswordStatus(password="current", server_time=BEGIN)),
        (False, msg.PasswordChanged(change_id="e" * 32, sealed="A" * 64, valid_until=BEGIN)),
        # Few iterations make it cheap to guess the password from the proof.
        (False, msg.Challenge(scram=f"r=c-{2:020}s,s=QUJDREVGR0hJSktMTU5P,i=4096")),
    ],
)
def test_a_message_out_of_order_ends_the_connection(
    *, waits: bool, message: msg.ServerMessage
) -> None:
    """An answer to a message that the client has not sent ends the connection."""
    world = started() if waits else started("server")
    world.inbox.clear()
    before = dict(world.vault), dict(world.memory), list(world.tried)
    world.session.say(message)
    world.release("server")
    assert world.is_in(State.RETRYING, Reason.PROTOCOL)
    assert (world.vault, world.memory, world.tried) == before


@pytest.mark.parametrize(
    ("held", "seconds", "phase"),
    [
        ("connect", CONNECT_S, "connecting"),
        ("server", LOGIN_S, "challenge"),
        ("proof", LOGIN_S, "key_derivation"),
    ],
)
def test_a_connection_that_comes_to_nothing(held: Kind, seconds: float, phase: str) -> None:
    """Each phase of connecting has a deadline, after which the client retries later."""
    world = started(held)
    world.advance(seconds - 0.1)
    assert world.is_in(State.CONNECTING)
    assert Timer.RETRY not in world.timers
    world.advance(0.2)
    assert world.is_in(State.RETRYING, Reason.TIMED_OUT)
    assert world.machine.failure == Failure(Reason.TIMED_OUT, detail=phase)
    assert world.seen(do.Disconnect)[0] == do.Disconnect(1, None)


def test_late_events_do_nothing() -> None:
    """Late timers, and answers to unknown requests or of an old connection, are ignored."""
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
    """After a defect the error is raised, no effect is returned, later events are ignored."""
    world = standby("proof")
    world.tell(ev.ReconnectRequested())
    proof = ev.ProofReady(2, "c=biws,r=x,p=QUJD")
    world.machine.handle(proof, world.now)
    with pytest.raises(IllegalTransition):
        world.machine.handle(proof, world.now)
    assert world.state is world.view.state is State.STOPPED
    for event in (ev.QuitRequested(), ev.Disconnected(2, Failure(Reason.CONNECTION_LOST))):
        assert world.machine.handle(event, world.now) == []


# --- leaving


@pytest.mark.parametrize(
    ("events", "farewell"),
    [
        ([ev.QuitRequested()], "quit"),
        ([ev.QuitRequested("update")], "update"),
        ([ev.SessionEnding("sign_out"), ev.QuitRequested("update")], "sign_out"),
        ([ev.SessionEnding("shutdown"), ev.SessionEnding(None), ev.QuitRequested()], "quit"),
    ],
)
def test_quitting(events: list[ev.Event], farewell: Farewell) -> None:
    """Quitting sends the farewell of the session's end, if any; later events do nothing."""
    world = standby()
    *before, last = events
    for event in before:
        assert world.tell(event) == []
    world.tell(last)
    for effect in (do.Disconnect(1, farewell), do.WithdrawWarning(), do.Quit()):
        assert world.performed.count(effect) == 1
    assert world.state is State.STOPPED
    assert world.tell(ev.ReconnectRequested()) == world.tell(last) == []


def test_sleep_and_resume() -> None:
    """The client disconnects before the PC sleeps, and connects again only after the resume."""
    world = standby()
    assert world.tell(ev.Suspending())[0] == do.Disconnect(1, "sleep")
    assert world.state is State.RETRYING
    assert until_retry(world) >= 60
    world.tell(ev.NetworkChanged())
    assert until_retry(world) < 2
    world = started("connect")
    assert world.tell(ev.Suspending()) == [], "without a connection there is no one to tell"
    assert world.state is State.CONNECTING


# --- copied PCs


@pytest.mark.parametrize(
    ("waits_s", "keys"),
    [
        ([60, 1400, 1600, 700], [0, 0, 0, 1]),  # three in the last hour
        ([60, 3300, 3300, 3300], [0, 0, 0, 0]),
        ([60, 60, 60, 60, 60, 60], [0, 0, 1, 1, 1, 2]),
    ],
)
def test_a_pc_that_is_displaced_again_and_again_becomes_another(
    waits_s: list[float], keys: list[int]
) -> None:
    """A client displaced three times within an hour is a copied PC, and makes a new key."""
    world = standby()
    made = [world.vault[HOME].device_key]
    for wait_s, key in zip(waits_s, keys, strict=True):
        assert world.is_in(State.STANDBY)
        world.advance(wait_s)
        world.session.say(msg.Bye(reason="superseded"))
        world.run()
        world.advance(360)
        now = world.vault[HOME].device_key
        made += [now] if now not in made else []
        assert made.index(now) == key
        assert world.this_device.id == device_id(public_key(now))
    assert world.vault[HOME].password == P1


def test_only_a_login_in_force_can_be_displaced() -> None:
    """`superseded` counts only after a login, when the server has proved itself."""
    world = standby()
    key = world.vault[HOME].device_key
    for _ in range(4):
        world.cut()
        world.hold.add("server")
        world.advance(until_retry(world))
        world.session.say(msg.Bye(reason="superseded"))
        world.release("server")
    assert world.vault[HOME].device_key == key


def test_a_copied_pc_gets_a_device_key_of_its_own() -> None:
    """A copied PC logs in with a new key and keeps it; without a machine id, nothing changes."""
    world = standby()
    keys = [world.vault[HOME].device_key]
    for world.machine_id in ("machine-2", "machine-2", "", "machine-3"):
        world.restart()
        assert world.is_in(State.STANDBY)
        keys.append(world.vault[HOME].device_key)
        assert world.this_device.id == device_id(public_key(keys[-1]))
    assert [keys.index(key) for key in keys] == [0, 1, 1, 1, 4]
    assert world.vault[HOME].password == P1
