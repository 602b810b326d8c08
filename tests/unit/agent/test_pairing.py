"""A new PC by a code: what the client accepts from a gateway, and what it refuses."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from gettext import NullTranslations
from types import FrameType
from typing import Any

import pytest
from msgspec.structs import asdict
from websockets.frames import Opcode

from agent import pairing
from agent.app import App
from agent.core import events as ev
from agent.core.failure import Failure, Reason
from agent.core.state import State
from agent.host import host_info
from agent.pairing import Code, PairingFailed, Received, receive_password
from agent.settings import Settings
from protocol.pairing import words
from protocol.sealing import device_id, new_device_key, public_key
from tests.support.fake_gateway import CODE, PASSWORD, USER, FakeGateway, Json, Peer, Script
from tests.support.fake_gateway import pairing as paired
from tests.support.fakes import FakeSignInWatcher, FakeVault, fake_adapters
from tests.support.loop_thread import LoopThread
from tests.support.polling import eventually

SHUT_DOWN = b"\x03\xf0"  # 1008


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with (made := FakeGateway()).running():
        yield made


def giving(give: Callable[[Peer, Json], object], expires_in_s: int = 600) -> Script:
    """Return a script that gives a code to the PC and then runs `give`."""

    async def script(peer: Peer) -> None:
        give(peer, await peer.show_code(expires_in_s=expires_in_s))

    return script


async def receive(gateway: FakeGateway, shown: list[Code], **policy: Any) -> Received:
    """Pair as a new PC; append its code to `shown`. Return what it received."""
    settings = Settings(proxy="none", enforced=frozenset(policy), **policy)
    return await receive_password(gateway.address, settings, shown.append)


async def fails(gateway: FakeGateway, script: Script) -> Failure:
    gateway.play(script)
    with pytest.raises(PairingFailed) as caught:
        await receive(gateway, [])
    return caught.value.failure


async def test_a_password_by_a_code(gateway: FakeGateway) -> None:
    """The PC shows the code, and words of a key made for this pairing, for at most 10 minutes."""
    pairs: list[Json] = []

    def give(peer: Peer, pair: Json) -> None:
        pairs.append(pair)
        peer.hand_over(pair)

    gateway.play(giving(give, expires_in_s=86_400))
    for _ in range(2):
        shown = list[Code]()
        received = await receive(gateway, shown)
        assert (received.user, received.password) == (USER, PASSWORD)
        device = pairs[-1]["device"]
        assert device["public_key"] == public_key(received.device_key)
        assert device == asdict(host_info().device(device["public_key"]))
        assert shown == [Code("BCDF-2345", words(CODE, device["public_key"]), 600)]
        assert PASSWORD not in repr(received)
        assert received.device_key not in repr(received)
        assert "BCDF" not in repr(shown)
    assert pairs[0]["device"]["id"] != pairs[1]["device"]["id"]
    assert not gateway.faults


OTHER = new_device_key()
OTHER_DEVICE = {"id": device_id(public_key(OTHER)), "public_key": public_key(OTHER)}


@pytest.mark.parametrize(
    "give",
    [
        lambda peer, pair: peer.hand_over(pair, change_id="d" * 32),
        lambda peer, pair: peer.hand_over(pair, device_id="d" * 32),
        lambda peer, _pair: peer.hand_over({"device": OTHER_DEVICE}),
        lambda peer, pair: peer.hand_over(pair, box=b"x" * 100),
        lambda peer, pair: peer.hand_over(pair, password=""),
        lambda peer, pair: peer.hand_over(pair, admin="yes"),
        *(
            lambda peer, pair, user=user: peer.hand_over(pair, user=user)
            for user in ("", " tanaka", "田中", "x" * 65)
        ),
        lambda peer, _pair: peer.send({"type": "pairing_code", "code": CODE, "expires_in_s": 9}),
        lambda peer, _pair: peer.send({"type": "rejected", "reason": "credentials"}),
        lambda peer, _pair: peer.frame(Opcode.BINARY, b"\0"),
    ],
)
async def test_what_is_no_password_for_this_pc(
    gateway: FakeGateway, give: Callable[[Peer, Json], object]
) -> None:
    """A box for another change or key, an impossible user name, or another message is refused."""
    assert (await fails(gateway, giving(give))).reason is Reason.PROTOCOL
    assert not gateway.faults


THROTTLED = {"type": "rejected", "reason": "throttled", "retry_after_s": 90}
BYE = {"type": "bye", "reason": "shutting_down"}


@pytest.mark.parametrize(
    ("end", "at_first", "later"),
    [
        (lambda peer: peer.send(THROTTLED), Reason.THROTTLED, Reason.THROTTLED),
        (lambda peer: peer.send(BYE), Reason.SHUTTING_DOWN, Reason.SHUTTING_DOWN),
        (lambda peer: peer.hang_up(), Reason.CONNECTION_LOST, Reason.CONNECTION_LOST),
        # A server without `pair` closes with 1008; after the code, 1008 is a fault.
        (lambda peer: peer.frame(Opcode.CLOSE, SHUT_DOWN), Reason.NO_CODES, Reason.PROTOCOL),
    ],
)
async def test_why_the_server_ends_it(
    gateway: FakeGateway, end: Callable[[Peer], object], at_first: Reason, later: Reason
) -> None:
    """The user reads the server's reason, before the code and after it."""

    async def at_once(peer: Peer) -> None:
        await peer.hello()
        end(peer)

    for script, reason in ((at_once, at_first), (giving(lambda peer, _: end(peer)), later)):
        failure = await fails(gateway, script)
        wait_s = 90 if reason is Reason.THROTTLED else None
        assert (failure.reason, failure.retry_after_s) == (reason, wait_s)


@pytest.mark.parametrize(
    ("limit", "script", "reason"),
    [
        ("CONNECT_S", Peer.request, Reason.TIMED_OUT),
        ("LOGIN_S", Peer.hello, Reason.TIMED_OUT),
        ("LATE_S", giving(lambda *_: None, expires_in_s=0), Reason.EXPIRED),
    ],
)
async def test_every_wait_has_a_deadline(
    gateway: FakeGateway,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    script: Script,
    reason: Reason,
) -> None:
    """A silent server ends the pairing: before the upgrade, the code, or the code's result."""
    monkeypatch.setattr(pairing, limit, 0.3)
    assert (await fails(gateway, script)).reason is reason


async def test_only_the_user_that_policy_allows(gateway: FakeGateway) -> None:
    """Another user's password is refused before the box is opened, with both names."""
    gateway.play(giving(lambda peer, pair: peer.hand_over(pair, user="suzuki")))
    assert (await receive(gateway, [], user="suzuki")).user == "suzuki"
    with pytest.raises(PairingFailed) as caught:
        await receive(gateway, [], user=USER)
    said = " ".join(caught.value.sentences(NullTranslations()))
    assert said.startswith(
        "The user suzuki has typed the code. Your administrator has set the user"
    )


# --- in a client


class Client:
    """An App without a password, and a window that asks it for a code."""

    def __init__(self, **settings: Any) -> None:
        self.vault, self.watcher = FakeVault(), FakeSignInWatcher()
        self.shown: list[Code] = []
        self.asked: list[str] = []
        self.agreed: Future[None] = Future()
        adapters = fake_adapters(vault=self.vault, watcher=self.watcher)
        self.app = App(Settings(**settings), adapters, NullTranslations())

    def pair(self, gateway: FakeGateway) -> Future[Reason | None]:
        def ask(user: str) -> Future[None]:
            self.asked.append(user)
            return self.agreed

        return self.app.pair(gateway.address, self.shown.append, ask)


@pytest.fixture
def far_gateway() -> Iterator[FakeGateway]:
    """Yield a gateway on a loop of its own that hands over a password for each code."""
    with LoopThread() as servers:
        servers.host((made := FakeGateway(paired())).running())
        yield made
        assert not made.faults


@pytest.fixture
def client(far_gateway: FakeGateway) -> Iterator[Client]:
    del far_gateway  # this fixture ends after it
    made = Client()
    made.app.start()
    yield made
    made.app.stop()


def test_a_pairing_is_a_log_in(
    client: Client, far_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """After a pairing the PC logs in with the key of that pairing; the log has no secret."""
    caplog.set_level(logging.DEBUG, "agent")
    done = client.pair(far_gateway)
    eventually(lambda: client.asked)
    assert not done.done()
    assert client.vault.entries == {}
    client.agreed.set_result(None)
    assert done.result(30) is None
    assert client.asked == [USER]
    ((identity, entry),) = client.vault.writes
    assert (identity.user, entry.password) == (USER, PASSWORD)
    (hello,) = far_gateway.hellos
    assert hello["device"]["public_key"] == public_key(entry.device_key)
    for secret in (PASSWORD, entry.device_key, "BCDF"):
        assert secret not in caplog.text


def test_a_password_that_is_refused(client: Client, far_gateway: FakeGateway) -> None:
    """A password changed since the pairing is refused like a typed one and not stored."""
    far_gateway.play(paired({"Other-one1": "current"}))
    client.agreed.set_result(None)
    assert client.pair(far_gateway).result(30) is Reason.CREDENTIALS
    assert client.vault.entries == {}
    assert client.app.view.state is State.LOGGED_OUT


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ("cancel", False),
        ("cancel", True),
        ("another", False),
        ("sleep", True),
        ("session", False),
        ("quit", True),
    ],
)
def test_what_ends_a_pairing_leaves_nothing(
    client: Client, far_gateway: FakeGateway, how: str, *, asked: bool
) -> None:
    """An end before or after the password leaves no connection, key or password in memory."""
    if not asked:
        far_gateway.play(giving(lambda *_: None))
    done = client.pair(far_gateway)
    eventually(lambda: client.asked if asked else client.shown)
    match how:
        case "cancel":
            done.cancel()
        case "another":
            client.app.pair("ws://127.0.0.1:9/gateway", client.shown.append, lambda _: Future())
        case "sleep":
            client.watcher.report(ev.Suspending())
        case "session":
            client.watcher.report(ev.QuitRequested("sign_out"))
        case _:
            client.app.stop()
    eventually(done.cancelled)
    eventually(far_gateway.first_has_ended)
    assert far_gateway.visits[0].close_code == 1000
    assert client.vault.entries == {}
    assert len(far_gateway.hellos) == 0

    del done
    eventually(lambda: _left() == [], or_say=_left)


def _left() -> list[object]:
    """Return the objects in memory that contain the password or the device key."""
    gc.collect()
    names = {"receive_password", "log_in_by_code"}
    # Not `isinstance`: it would evaluate lazy objects of other tests.
    frames = [each for each in gc.get_objects() if type(each) is FrameType]
    received = [each for each in gc.get_objects() if type(each) is Received]
    return [*received, *(each for each in frames if each.f_code.co_name in names)]


def test_a_question_without_an_answer(
    client: Client, far_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A received password that no person at the PC confirms is dropped after 10 minutes."""
    monkeypatch.setattr(pairing, "CODE_SECONDS", 0.2)
    with pytest.raises(PairingFailed, match="not confirmed"):
        client.pair(far_gateway).result(30)
    assert client.asked == [USER]
    assert client.app._pairing is None


@pytest.mark.parametrize("is_policy", [False, True])
def test_policy_names_the_user(far_gateway: FakeGateway, *, is_policy: bool) -> None:
    """Pairing is limited to the user that policy names, not to the user of the settings."""
    enforced = frozenset({"user"} if is_policy else ())
    client = Client(server=far_gateway.address, user="suzuki", enforced=enforced)
    client.app.start()
    client.agreed.set_result(None)
    done = client.pair(far_gateway)
    failed = done.exception(30)
    assert (isinstance(failed, PairingFailed) and bool(failed.users)) is is_policy
    assert bool(client.asked) is not is_policy
    client.app.stop()


def test_a_pairing_after_the_end(client: Client, far_gateway: FakeGateway) -> None:
    """A client that has ended makes no connection for a pairing."""
    client.app.stop()
    assert client.pair(far_gateway).cancelled()
    assert far_gateway.visits == []


def test_a_device_key_that_is_none(client: Client) -> None:
    """A command with an invalid device key is refused, and does not reach the machine."""
    request = {"command": "login", "server": "gw", "user": USER, "password": PASSWORD}
    for key in ("x", "A" * 44, f"{'A' * 42}-="):
        refused = client.app.answer({**request, "device_key": key})
        assert refused == {"ok": False, "reason": "internal"}
    assert client.app.view.state is not State.STOPPED
