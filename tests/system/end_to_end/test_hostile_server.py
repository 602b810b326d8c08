"""The real client against servers that lie, send nonsense, fall silent or are no gateway.

In all cases the client stores nothing unproven, shows the right reason, goes on, waits before it
retries, and prints no traceback.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from time import sleep, time
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.credentials import Pending, encode_credentials
from tests.support.fake_gateway import (
    PASSWORD,
    FakeGateway,
    Peer,
    Script,
    answering,
    challenged,
    honest,
    http,
    raw,
    seal,
    sign,
    steps,
)
from tests.support.hostile_scripts import (
    BOXES,
    CASES,
    CUTS,
    EARLIER_SIGNATURE,
    FLOODS,
    LATER_S,
    NEXT,
    SOON_S,
    box,
    closing,
    push,
    text,
    welcome,
)
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc, quit_all
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring


class Visitor(Pc):
    """A client, and the one gateway that it knows."""

    def __init__(self, home: Path, environ: dict[str, str], gateway: FakeGateway) -> None:
        super().__init__(home, environ, gateway.address)
        self.gateway = gateway

    def connects_to(self, script: Script) -> None:
        """Have the client connect to a gateway with this script."""
        self.gateway.play(script)
        self.tell("reconnect")

    def meets(self, script: Script) -> None:
        """Have the client connect to such a gateway, until a connection has ended."""
        self.connects_to(script)
        eventually(self.gateway.first_has_ended)

    def is_fine_with_an_honest_server(self) -> None:
        """Assert that the client recovers from everything before."""
        self.connects_to(honest())
        self.says("standby")


@pytest.fixture(scope="module")
def new_visitor(
    servers: LoopThread, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Visitor]]:
    """`new_visitor()` returns a client that has logged in at its own gateway, and does not run."""
    made: list[Visitor] = []

    def make() -> Visitor:
        gateway = FakeGateway()
        servers.host(gateway.running())
        made.append(Visitor(tmp_path_factory.mktemp("pc"), environ, gateway))
        made[-1].be_logged_in()
        return made[-1]

    yield make
    quit_all(made)
    assert [fault for each in made for fault in each.gateway.faults] == []


@pytest.fixture(scope="module")
def shared(new_visitor: Callable[[], Visitor]) -> Visitor:
    """Return the client that most tests share."""
    one = new_visitor()
    one.start()
    one.says("standby")
    return one


@pytest.fixture(scope="module")
def silenced(new_visitor: Callable[[], Visitor]) -> list[tuple[str, str, Visitor]]:
    """Return clients whose servers have become silent; they wait beside all other tests."""

    async def instead_of_closing(peer: Peer) -> None:
        peer.closes = False
        await peer.log_in()
        peer.send("x" * 16_385)

    scripts: dict[Script, str] = dict.fromkeys(
        (Peer.request, Peer.upgrade, challenged), "timed_out"
    )
    scripts[instead_of_closing] = "protocol"
    found = []
    for script, reason in scripts.items():
        one = new_visitor()
        one.gateway.play(script)
        one.start()
        found.append((repr(script), reason, one))
    return found


@pytest.fixture
def pc(shared: Visitor) -> Iterator[Visitor]:
    yield shared
    faults, shared.gateway.faults = shared.gateway.faults, []
    assert faults == []
    shared.check()


# --- the tests


@pytest.mark.usefixtures("silenced")
def test_a_dead_server_is_not_hammered(pc: Visitor) -> None:
    """Delays double from 3 s, so the client tries at most five times in six seconds."""
    pc.connects_to(CUTS["accept"])
    first = eventually(lambda: pc.gateway.visits)[0].began
    eventually(lambda: time() > first + 6)
    began = [visit.began for visit in pc.gateway.visits if visit.began < first + 6]
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert 1 <= len(began) <= 5
    assert all(gap >= SOON_S * 2**number for number, gap in enumerate(gaps)), gaps
    pc.is_fine_with_an_honest_server()


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_proves_nothing(pc: Visitor, case: str) -> None:
    """A wrong server changes nothing stored; the client shows the reason and waits."""
    script, reason, code, least_s = CASES[case]
    before = kept(pc)
    pc.meets(script)
    status = pc.says("retrying", reason)
    visit = next(each for each in reversed(pc.gateway.visits) if each.ended)
    assert visit.close_code == code
    next_try = datetime.fromisoformat(status["next_try_at"]).timestamp()
    assert next_try - visit.began >= least_s
    assert len(pc.gateway.visits) <= 2
    assert status["console_url"] is None
    assert kept(pc) == before


def kept(pc: Visitor) -> tuple[Any, ...]:
    """Return all that the client keeps: the keyring's entry and its files."""
    paths = pc.paths
    files = [paths.config_file, *sorted(path for path in paths.state_dir.rglob("*"))]
    return pc.stored(), [(path.name, path.read_bytes()) for path in files if path.is_file()]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_connection(pc: Visitor, flood: str) -> None:
    """Even from the right server, a flood makes the client close, not grow, and wait."""
    pc.is_fine_with_an_honest_server()
    before = pc.memory_mib()
    pc.meets(FLOODS[flood])
    pc.says("retrying", "protocol")
    assert pc.memory_mib() - before < 32
    pc.is_fine_with_an_honest_server()


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://evil.example/",
        "https://user@evil.example/",
        "https://evil.example/\u202eexe.fdp",
        "https://evil.example/\n2026-11-23T00:00:00.000Z ERROR forged",
        "https://evil.example/\u200b\x07",
    ],
)
def test_an_address_that_is_not_for_a_browser(pc: Visitor, url: str) -> None:
    """Such an address is neither shown nor stored, not even from the right server."""
    pc.connects_to(lambda peer: peer.log_in(console_url=url))
    eventually(lambda: pc.gateway.visits)
    status = pc.says("standby")
    assert status["console_url"] is None
    assert b"evil" not in b"".join(data for _, data in kept(pc)[1])


HOSTILE_TEXT = (
    "\x1b[31m\u202e\u200b\r\n2026-11-23T00:00:00.000Z ERROR agent forged" + "a\u0301" * 10
)


async def drained(peer: Peer) -> None:
    """Wait until all that was sent is on its way."""
    await peer.more(b"")


def test_text_of_the_server_is_not_repeated(pc: Visitor) -> None:
    """The server's texts, in a close frame, HTTP or JSON, are in no log and no window."""
    said = HOSTILE_TEXT.encode()[:120].decode("utf-8", "ignore")
    line = HOSTILE_TEXT.replace("\r\n", " ")
    page = raw(f"HTTP/1.1 403 {line}\r\nServer: {line}\r\n\r\n".encode())
    cases = {
        closing(1008, said): "protocol",
        page: "not_a_gateway",
        text("bye", reason=HOSTILE_TEXT): "protocol",
        steps(text({"type": HOSTILE_TEXT}), drained, Peer.hang_up): "connection_lost",
    }
    for script, reason in cases.items():
        pc.meets(script)
        assert "forged" not in json.dumps(pc.says("retrying", reason))
    pc.is_fine_with_an_honest_server()
    log = pc.log() + pc.told()
    assert "forged" not in log
    assert "\x1b" not in log


def test_redirects_are_not_followed(pc: Visitor, servers: LoopThread) -> None:
    """A redirect to `ws://` or `wss://` makes no connection there."""
    elsewhere = FakeGateway()
    servers.host(elsewhere.running())
    for address in (elsewhere.address, elsewhere.address.replace("ws:", "wss:")):
        pc.meets(http(f"302 Found\r\nLocation: {address}"))
        pc.says("retrying", "not_a_gateway")
    assert elsewhere.visits == []
    pc.is_fine_with_an_honest_server()


@pytest.mark.parametrize("reason", ["credentials", "expired"])
def test_a_refusal_is_believed_but_forgets_nothing(pc: Visitor, reason: str) -> None:
    """A refused password stays in the keyring, and is not sent again."""
    before = pc.stored()
    pc.meets(answering(type="rejected", reason=reason))
    pc.says("needs_password", reason)
    eventually(lambda: pc.stored() == replace(before, refused=reason), or_say=pc.told)
    pc.tell("reconnect")
    sleep(1)  # nothing is to happen: there is no event for that
    assert len(pc.gateway.visits) == 1
    pc.gateway.play(honest())
    pc.log_in()
    pc.says("standby")
    assert pc.stored() == before


@pytest.mark.parametrize("case", BOXES)
def test_a_box_that_is_not_for_us(pc: Visitor, case: str) -> None:
    """A box that cannot be for this client is reported, and the password stays."""
    boxed, reason = BOXES[case]
    reports: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        hello = await peer.log_in()
        sealed = boxed(hello["device"])
        peer.send(push("a" * 32, sealed))
        reports.append(await peer.receive())

    before = pc.stored()
    pc.connects_to(script)
    eventually(lambda: reports)
    assert reports == [{"type": "update_failed", "change_id": "a" * 32, "reason": reason}]
    pc.says("standby_old_password")
    assert pc.stored() == before


def test_a_pushed_password_is_kept_only_when_it_is_proven(pc: Visitor) -> None:
    """A pushed password that an impostor proves, and the right server refuses, is given up."""
    reports: list[dict[str, Any]] = []

    async def impostor_at_the_end(peer: Peer) -> None:
        hello = await peer.log_in()
        sealed = seal(hello["device"], box(hello["device"]))
        peer.send(push("a" * 32, sealed))
        await peer.challenge(await peer.receive())
        await peer.receive()
        peer.send(welcome(EARLIER_SIGNATURE))

    async def right(peer: Peer) -> None:
        await peer.log_in()
        reports.append(await peer.receive())

    before = pc.stored()
    pc.meets(impostor_at_the_end)
    pc.says("retrying", "impostor")
    assert pc.stored() == replace(before, pending=Pending(change_id="a" * 32, password=NEXT))
    pc.connects_to(right)
    pc.says("standby")
    eventually(lambda: reports)
    assert reports == [{"type": "update_failed", "change_id": "a" * 32, "reason": "refused"}]
    eventually(lambda: pc.stored() == before, or_say=pc.told)


@pytest.mark.parametrize("signature", [None, "forged", "of another", "of the box it knows"])
def test_who_passes_a_login_on_pushes_nothing(pc: Visitor, signature: str | None) -> None:
    """Nothing is stored of a push from an attacker between the client and its server."""

    async def in_the_middle(peer: Peer) -> None:
        device = (await peer.log_in())["device"]
        sealed = seal(device, box(device))
        forged: dict[str | None, dict[str, Any]] = {
            None: {"signature": None},
            "forged": {"signature": "A" * 43 + "="},
            "of another": {"signature": sign(NEXT, "a" * 32, sealed)},
            "of the box it knows": {"sealed": seal(device, box(device))},
        }
        peer.send({**push("a" * 32, sealed), **forged[signature]})

    before = pc.stored()
    pc.meets(in_the_middle)
    pc.says("retrying", "impostor")
    assert pc.stored() == before
    pc.is_fine_with_an_honest_server()


def test_log_files_have_no_secret(pc: Visitor) -> None:
    """Logs at level DEBUG have neither passwords nor proofs."""
    log = pc.log() + pc.told()
    assert "evil.example" not in log
    encoded = json.loads(encode_credentials(pc.stored()))
    for secret in (PASSWORD, NEXT, "c=biws", encoded["device_key"]):
        assert secret not in log


def test_silence(silenced: list[tuple[str, str, Visitor]]) -> None:
    """The client waits 20 s for a silent server at each step, and then before it retries."""
    for step, reason, one in silenced:
        eventually(one.gateway.first_has_ended, within_s=40)
        first, *later = one.gateway.visits
        assert first.ended is not None
        assert first.ended - first.began < 30, step
        assert reason != "timed_out" or first.ended - first.began > 19, step
        assert eventually(one.troubles, or_say=one.told)[0][0] == reason, step
        least_s = SOON_S if reason == "timed_out" else LATER_S
        assert all(visit.began - first.ended > least_s for visit in later), step
        assert one.stored().password == PASSWORD
        one.check()
