"""A client connects and logs in from its start to standby, and tries again after failures."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.events import SignInKind, Timer
from agent.core.failure import Failure, Reason
from agent.core.state import State
from protocol import messages as msg
from protocol.sealing import device_id, public_key
from tests.support.core_driver import BEGIN, HOME, P1, P2, World
from tests.support.core_scenes import standby, started


def until_retry(world: World) -> float:
    """Return the seconds until the next try."""
    return world.timers[Timer.RETRY] - world.steady


def test_a_login_from_the_start_to_standby() -> None:
    """It takes one connection and one proof, and leaves no timer; the stored key names the PC."""
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
    assert world.session.hello is not None
    assert world.session.hello.device == msg.Device(
        id=device_id(key), public_key=key, name="PC-4711", os="Windows 11", version="0.1.0"
    )


@pytest.mark.parametrize(("version", "newer"), [("0.2", True), ("0.1.0", False), ("0.0.9", False)])
def test_the_server_knows_a_newer_version(version: str, newer: bool) -> None:
    """The view has the server's newest version, when this client is older."""
    world = World()
    world.newest = msg.Release(version=version, url="https://example.com/setup.exe")
    assert world.view.newer is None
    world.start()
    assert world.view.newer == (world.newest if newer else None)


def test_a_refused_version_comes_with_the_download() -> None:
    """A client that is too old gets the address; another refusal does not take it away."""
    world = started()
    release = msg.Release(version="9", url="https://example.com/setup.exe")
    world.session.say(msg.Rejected(reason="version", newest=release))
    world.run()
    assert (world.view.reason, world.view.newer) == (Reason.VERSION, release)


def test_network_trouble_is_retried_for_ever_with_growing_delays() -> None:
    """Each failure waits longer, up to the longest delay; the view says when the next try is."""
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
    """An open connection, an impostor's welcome and a login of half a minute do not count."""
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
    """Resume, unlock or another network: within about a second; a request of the user: at once."""
    world = started(online=False)
    world.advance(2000)
    world.online = True
    world.tell(event)
    if not isinstance(event, ev.ReconnectRequested):
        assert 0 < until_retry(world) < 1.2
        world.advance(1.2)
    assert world.is_in(State.STANDBY)


def test_an_open_connection_is_probed_or_replaced() -> None:
    """It can be dead although no error has come: a network change probes, the user replaces it."""
    world = standby()
    assert world.tell(ev.NetworkChanged()) == [do.Probe(1)]
    assert world.is_in(State.STANDBY)
    world.tell(ev.ReconnectRequested())
    assert [each.closed for each in world.sessions.values()] == [True, False]
    assert world.is_in(State.STANDBY)


@pytest.mark.parametrize(
    ("reason", "hurries"),
    [
        (Reason.DISABLED, False),
        (Reason.TOO_MANY_REQUESTS, False),
        (Reason.IMPOSTOR, False),
        (Reason.CERTIFICATE, True),
        (Reason.NOT_A_GATEWAY, True),
    ],
)
def test_another_network_hurries_what_a_network_causes(reason: Reason, *, hurries: bool) -> None:
    """Leaving a hotel's portal helps; what the server has said stays, for tens of seconds."""
    world = started("connect")
    world.tell(ev.Disconnected(1, Failure(reason)))
    assert world.is_in(State.RETRYING, reason)
    assert until_retry(world) >= 6
    world.tell(ev.NetworkChanged())
    assert (until_retry(world) < 1.2) is hurries


def test_another_network_does_not_repeat_a_login_at_a_proxy_at_once() -> None:
    """A network that comes and goes would lock the user's account: one try in five minutes."""
    world = started("connect")
    world.tell(ev.Disconnected(1, Failure(Reason.PROXY_LOGIN)))
    for after_s, wait_s in ((0, 300), (100, 200), (100, 100), (98, 2)):
        world.advance(after_s)
        world.tell(ev.NetworkChanged())
        assert until_retry(world) == wait_s
    world.advance(2)
    assert world.is_in(State.CONNECTING)


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


def test_the_servers_least_wait_is_kept() -> None:
    """`retry_after_s` of a rejection is the least that the client waits."""
    world = started(throttle_s=600)
    assert world.view.reason is Reason.THROTTLED
    assert until_retry(world) >= 600


LOOSE = [
    msg.Welcome(scram="v=QUJD", password="current", server_time=BEGIN),
    msg.Rejected(reason="credentials"),
]


@pytest.mark.parametrize(
    ("waits", "message"),
    [
        *((True, message) for message in LOOSE),
        (True, msg.Challenge(scram="r=x,s=QUJDREVGR0hJSktMTU5P,i=600000")),
        *((False, message) for message in LOOSE),
        (False, msg.Rejected(reason="expired")),
        (False, msg.PasswordStatus(password="current", server_time=BEGIN)),
        (False, msg.PasswordChanged(change_id="e" * 32, sealed="A" * 64, valid_until=BEGIN)),
        # Its proof would be cheap to guess from.
        (False, msg.Challenge(scram=f"r=c-{2:020}s,s=QUJDREVGR0hJSktMTU5P,i=4096")),
    ],
)
def test_a_message_out_of_order_ends_the_connection(
    *, waits: bool, message: msg.ServerMessage
) -> None:
    """A server that answers or refuses what the client has not sent is not believed."""
    world = started() if waits else started("server")
    world.inbox.clear()
    before = dict(world.vault), dict(world.memory), list(world.tried)
    world.session.say(message)
    world.release("server")
    assert world.is_in(State.RETRYING, Reason.PROTOCOL)
    assert (world.vault, world.memory, world.tried) == before


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


def test_the_end() -> None:
    """Quitting closes the connection and takes back a warning, once; then events are ignored."""
    world = standby()
    world.tell(ev.QuitRequested())
    for effect in (do.Disconnect(1, "quit"), do.WithdrawWarning(), do.Quit()):
        assert world.performed.count(effect) == 1
    assert world.state is State.STOPPED
    assert world.tell(ev.ReconnectRequested()) == []
    assert world.tell(ev.QuitRequested()) == []


def supersede(world: World, *, after_s: float) -> str:
    """Let another client take this one's place while it waits. Return the device key after that."""
    assert world.is_in(State.STANDBY)
    world.advance(after_s)
    world.session.say(msg.Bye(reason="superseded"))
    world.run()
    assert world.is_in(State.RETRYING, Reason.SUPERSEDED)
    world.advance(360)
    return world.vault[HOME].device_key


@pytest.mark.parametrize(
    ("waits_s", "keys"),
    [
        ([60, 60, 60], [0, 0, 1]),
        ([60, 1400, 1400], [0, 0, 1]),
        ([60, 1400, 1600, 700], [0, 0, 0, 1]),
        ([60, 3300, 3300, 3300], [0, 0, 0, 0]),
        ([60, 60, 60, 60, 60, 60], [0, 0, 1, 1, 1, 2]),
    ],
    ids=["fast", "slow", "the last three count", "too slow", "again"],
)
def test_a_pc_that_is_displaced_again_and_again_becomes_another(
    waits_s: list[float], keys: list[int]
) -> None:
    """Three times within an hour: it is a copy, although its machine has the same name."""
    world = standby()
    made = [world.vault[HOME].device_key]
    for wait_s, key in zip(waits_s, keys, strict=True):
        now = supersede(world, after_s=wait_s)
        made += [now] if now not in made else []
        assert made.index(now) == key
        assert world.session.hello is not None
        assert world.session.hello.device.id == device_id(public_key(now))
    assert world.vault[HOME].password == P1


def test_only_a_login_in_force_can_be_displaced() -> None:
    """Before the server has proved itself, `superseded` is no reason for a new key."""
    world = standby()
    key = world.vault[HOME].device_key
    for _ in range(4):
        world.cut()
        world.hold.add("server")
        world.advance(until_retry(world))
        assert world.session.hello is not None
        world.session.say(msg.Bye(reason="superseded"))
        world.release("server")
    assert world.vault[HOME].device_key == key


def test_a_copied_pc_gets_a_device_key_of_its_own() -> None:
    """It logs in with a new key, which stays; where no machine is known, nothing changes."""
    world = standby()
    keys = [world.vault[HOME].device_key]
    for world.machine_id in ("machine-2", "machine-2", "", "machine-3"):
        world.restart()
        assert world.is_in(State.STANDBY)
        assert world.session.hello is not None
        key = world.vault[HOME].device_key
        assert world.session.hello.device.id == device_id(public_key(key))
        keys.append(key)
    assert [keys.index(key) for key in keys] == [0, 1, 1, 1, 4]
    assert world.vault[HOME].password == P1
