"""A new PC by a code: what the client takes from a gateway, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import asdict
from websockets.frames import Opcode

from agent import pairing
from agent.core.failure import Failure, Reason
from agent.host import host_info
from agent.pairing import Code, PairingFailed, Received, receive_password
from protocol.pairing import words
from protocol.sealing import device_id, new_device_key, public_key
from tests.support.fake_gateway import CODE, PASSWORD, USER, FakeGateway, Json, Peer, Script, http

SHUT_DOWN = b"\x03\xf0"  # 1008


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with (made := FakeGateway()).running():
        yield made


class Pc:
    """A new PC, and what it shows."""

    def __init__(self, gateway: FakeGateway, *, only_user: str | None = None) -> None:
        self.shown: list[Code] = []
        self.work = receive_password(
            gateway.address,
            host=host_info(),
            proxy="none",
            show=self.shown.append,
            only_user=only_user,
        )

    async def fails(self) -> Failure:
        with pytest.raises(PairingFailed) as caught:
            await self.work
        return caught.value.failure


def giving(give: Callable[[Peer, Json], object], expires_in_s: int = 600) -> Script:
    """Show a code, and then do this."""

    async def script(peer: Peer) -> None:
        give(peer, await peer.show_code(expires_in_s=expires_in_s))

    return script


async def test_a_password_by_a_code(gateway: FakeGateway) -> None:
    """The PC shows code and words of its own key, which is new each time, and opens the box."""
    pairs: list[Json] = []

    def give(peer: Peer, pair: Json) -> None:
        pairs.append(pair)
        peer.hand_over(pair)

    gateway.play(giving(give))
    for _ in range(2):
        pc = Pc(gateway)
        received = await pc.work
        assert (received.user, received.password) == (USER, PASSWORD)
        device = pairs[-1]["device"]
        assert device["public_key"] == public_key(received.device_key)
        assert device == asdict(host_info().device(device["public_key"]))
        assert pc.shown == [Code("BCDF-2345", words(CODE, device["public_key"]), 600)]
        assert PASSWORD not in repr(received)
        assert received.device_key not in repr(received)
        assert "BCDF" not in repr(pc.shown)
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
        lambda peer, pair: peer.hand_over(pair, password="x" * 1025),
        lambda peer, pair: peer.hand_over(pair, admin="yes"),
        *(
            lambda peer, pair, user=user: peer.hand_over(pair, user=user)
            for user in ("", " tanaka", "田中", "tana\u200bka", "tan\nka", "x" * 65)
        ),
        lambda peer, _pair: peer.send({"type": "pairing_code", "code": CODE, "expires_in_s": 9}),
        lambda peer, _pair: peer.send({"type": "challenge", "scram": "r=a"}),
        lambda peer, _pair: peer.send({"type": "rejected", "reason": "credentials"}),
        lambda peer, _pair: peer.send("garbage"),
        lambda peer, _pair: peer.frame(Opcode.BINARY, b"\0"),
    ],
)
async def test_what_is_no_password_for_this_pc(
    gateway: FakeGateway, give: Callable[[Peer, Json], object]
) -> None:
    """A box for another change or key, a name that is none and every other message is refused."""
    gateway.play(giving(give))
    assert (await Pc(gateway).fails()).reason is Reason.PROTOCOL
    assert not gateway.faults


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ({"type": "rejected", "reason": "expired"}, Failure(Reason.EXPIRED)),
        (
            {"type": "rejected", "reason": "throttled", "retry_after_s": 90},
            Failure(Reason.THROTTLED, 90),
        ),
        ({"type": "rejected", "reason": "version"}, Failure(Reason.VERSION)),
        ({"type": "bye", "reason": "shutting_down"}, Failure(Reason.SHUTTING_DOWN)),
    ],
)
async def test_why_the_server_ends_it(
    gateway: FakeGateway, message: Json, failure: Failure
) -> None:
    """Before the code and after it, the server's reason is the one that the user reads."""

    async def at_once(peer: Peer) -> None:
        await peer.hello()
        peer.send(message)

    for script in (at_once, giving(lambda peer, _pair: peer.send(message))):
        gateway.play(script)
        assert await Pc(gateway).fails() == failure


@pytest.mark.parametrize("shown", [False, True])
async def test_a_server_without_codes(gateway: FakeGateway, *, shown: bool) -> None:
    """A server that does not know `pair` closes with 1008; later that is a fault."""

    async def script(peer: Peer) -> None:
        await (peer.show_code() if shown else peer.hello())
        peer.frame(Opcode.CLOSE, SHUT_DOWN)

    gateway.play(script)
    assert (await Pc(gateway).fails()).reason is (Reason.PROTOCOL if shown else Reason.NO_CODES)


async def test_ways_that_fail_have_the_reasons_of_a_login(gateway: FakeGateway) -> None:
    """A proxy's page and a cut are classified like those of a login."""
    for script, reason in (
        (http("403 Forbidden"), Reason.HTTP_FORBIDDEN),
        (giving(lambda peer, _pair: peer.hang_up()), Reason.CONNECTION_LOST),
    ):
        gateway.play(script)
        assert (await Pc(gateway).fails()).reason is reason


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("CONNECT_S", Reason.TIMED_OUT), ("LOGIN_S", Reason.TIMED_OUT), ("LATE_S", Reason.EXPIRED)],
)
async def test_every_wait_has_a_deadline(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, limit: str, reason: Reason
) -> None:
    """A silent server ends it before the upgrade, before the code and after the code's end."""
    monkeypatch.setattr(pairing, limit, 0.3)
    waits = {"CONNECT_S": Peer.request, "LOGIN_S": Peer.hello}
    gateway.play(waits.get(limit, giving(lambda *_: None, expires_in_s=0)))
    assert (await Pc(gateway).fails()).reason is reason


async def test_a_long_validity_is_not_believed(gateway: FakeGateway) -> None:
    """A code is shown for ten minutes at most."""
    gateway.play(giving(lambda peer, pair: peer.hand_over(pair), expires_in_s=86_400))
    pc = Pc(gateway)
    await pc.work
    assert [code.expires_in_s for code in pc.shown] == [600]


async def test_only_the_user_that_policy_allows(gateway: FakeGateway) -> None:
    """Another user's password is refused before the box is opened, with both names."""
    gateway.play(giving(lambda peer, pair: peer.hand_over(pair, user="suzuki")))
    assert (await Pc(gateway, only_user="suzuki").work).user == "suzuki"
    with pytest.raises(PairingFailed) as caught:
        await Pc(gateway, only_user=USER).work
    assert caught.value.user == "suzuki"


async def test_cancelling_ends_it_at_once(gateway: FakeGateway) -> None:
    """The connection is closed in order, so that the server forgets the code."""
    gateway.play(giving(lambda *_: None))
    pc = Pc(gateway)
    task: asyncio.Task[Received] = asyncio.create_task(pc.work)
    while not pc.shown:  # noqa: ASYNC110 - the words take a moment
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while not gateway.first_has_ended():  # noqa: ASYNC110 - on the same loop
            await asyncio.sleep(0.01)
    assert gateway.visits[0].close_code == 1000
    assert [each for each in asyncio.all_tasks() if "run" in str(each.get_coro())] == []
