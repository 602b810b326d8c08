"""The client against servers that lie, send garbage, stay silent, or are no gateway.

Runtime, machine and connection are the real ones, in this process; the keyring is in memory. In all
cases the client stores nothing unproven, shows the right reason, goes on, waits before it retries,
and logs no traceback.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections.abc import Iterator
from time import sleep, time
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from agent.core.credentials import Pending
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
from tests.support.polling import eventually
from tests.support.runtimes import ClientInMemory


class Visitor(ClientInMemory):
    """A running client, and the one gateway that it connects to."""

    def __init__(self, servers: LoopThread, script: Script) -> None:
        self.gateway = FakeGateway(script)
        servers.host(self.gateway.running())
        super().__init__(self.gateway.address)
        self.sign_in()

    def end(self) -> None:
        """Quit, and assert that no script has failed unexpectedly."""
        super().end()
        assert self.gateway.faults == []

    def connects_to(self, script: Script) -> None:
        """Have the client connect to a gateway with this script."""
        self.gateway.play(script)
        self.reconnect()

    def meets(self, script: Script) -> None:
        """Have the client connect to a gateway with this script. Wait for a connection's end."""
        self.connects_to(script)
        eventually(self.gateway.first_has_ended)

    def first_trouble(self) -> str | None:
        """Return the first reason that the client has shown."""
        return next((view.reason.value for view in self.tray.views if view.reason), None)

    def kept(self) -> tuple[object, ...]:
        """Return all that the client keeps: the keyring's entry and its state."""
        return dict(self.vault.entries), dict(self.saved_state)

    def is_fine_with_an_honest_server(self) -> None:
        """Assert that the client logs in and takes a push at an honest server."""
        self.connects_to(honest())
        self.says("standby")


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """Yield a text buffer with the clients' log, at level DEBUG."""
    handler, logger = logging.StreamHandler(io.StringIO()), logging.getLogger("agent")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.stream
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    assert "Traceback" not in handler.stream.getvalue()


@pytest.fixture(scope="module")
def client(servers: LoopThread, log: io.StringIO) -> Iterator[Visitor]:
    """Yield the client that most tests share."""
    one = Visitor(servers, honest())
    one.log_in(PASSWORD)
    yield one
    one.end()


@pytest.fixture(scope="module")
def silenced(servers: LoopThread, log: io.StringIO) -> Iterator[list[tuple[str, Visitor]]]:
    """Yield clients of silent servers; their waits run during all other tests."""

    async def instead_of_closing(peer: Peer) -> None:
        peer.closes = False
        await peer.log_in()
        peer.send("x" * 16_385)

    found = [("timed_out", Visitor(servers, each)) for each in (Peer.request, Peer.upgrade)]
    found.append(("timed_out", Visitor(servers, challenged)))
    found.append(("protocol", Visitor(servers, instead_of_closing)))
    yield found
    for _, one in found:
        one.end()


@pytest.mark.usefixtures("silenced")
def test_a_dead_server_is_not_hammered(client: Visitor) -> None:
    """Delays double from 3 s, so the client tries at most five times in six seconds."""
    client.connects_to(CUTS["accept"])
    first = eventually(lambda: client.gateway.visits)[0].began
    eventually(lambda: time() > first + 6)
    began = [visit.began for visit in client.gateway.visits if visit.began < first + 6]
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert 1 <= len(began) <= 5
    assert all(gap >= SOON_S * 2**number for number, gap in enumerate(gaps)), gaps
    client.is_fine_with_an_honest_server()


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_proves_nothing(client: Visitor, case: str) -> None:
    """An unproven server changes nothing that is stored; the client shows why, and waits."""
    script, reason, code, least_s = CASES[case]
    before = client.kept()
    client.meets(script)
    shown = client.says("retrying", reason)
    visit = next(each for each in reversed(client.gateway.visits) if each.ended)
    assert visit.close_code == code
    assert shown.next_try_at is not None
    assert shown.next_try_at.timestamp() - visit.began >= least_s
    assert len(client.gateway.visits) <= 2
    assert shown.console_url is None
    assert client.kept() == before


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_connection(client: Visitor, flood: str) -> None:
    """A flood, even from the right server, makes the client close and wait, in bounded memory."""
    client.is_fine_with_an_honest_server()
    memory = psutil.Process().memory_info
    before = memory().rss
    client.meets(FLOODS[flood])
    client.says("retrying", "protocol")
    assert memory().rss - before < 32 << 20
    client.is_fine_with_an_honest_server()


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "http://evil.example/",
        "https://user@evil.example/",
        "https://evil.example/\u202eexe.fdp",
        "https://evil.example/\n2026-11-23T00:00:00.000Z ERROR forged",
    ],
)
def test_an_address_that_is_not_for_a_browser(client: Visitor, url: str) -> None:
    """An address unfit for a browser is neither shown nor stored, even from the right server."""
    client.connects_to(lambda peer: peer.log_in(console_url=url))
    eventually(lambda: client.gateway.visits)
    assert client.says("standby").console_url is None
    assert "evil" not in str(client.kept())


HOSTILE_TEXT = (
    "\x1b[31m\u202e\u200b\r\n2026-11-23T00:00:00.000Z ERROR agent forged" + "a\u0301" * 10
)


def test_text_of_the_server_is_not_repeated(client: Visitor, log: io.StringIO) -> None:
    """The server's texts, in a close frame, HTTP or JSON, are in no log and no window."""
    said = HOSTILE_TEXT.encode()[:120].decode("utf-8", "ignore")
    line = HOSTILE_TEXT.replace("\r\n", " ")
    page = raw(f"HTTP/1.1 403 {line}\r\nServer: {line}\r\n\r\n".encode())
    cases = {
        closing(1008, said): "protocol",
        page: "not_a_gateway",
        text("bye", reason=HOSTILE_TEXT): "protocol",
        steps(
            text({"type": HOSTILE_TEXT}),
            lambda peer: peer.more(b""),  # until all that was sent is on its way
            Peer.hang_up,
        ): "connection_lost",
    }
    for script, reason in cases.items():
        client.meets(script)
        assert "forged" not in str(client.says("retrying", reason))
    client.is_fine_with_an_honest_server()
    assert "forged" not in log.getvalue()
    assert "\x1b" not in log.getvalue()


def test_redirects_are_not_followed(client: Visitor, servers: LoopThread) -> None:
    """The client does not follow a redirect to `ws://` or `wss://`."""
    elsewhere = FakeGateway()
    servers.host(elsewhere.running())
    for address in (elsewhere.address, elsewhere.address.replace("ws:", "wss:")):
        client.meets(http(f"302 Found\r\nLocation: {address}"))
        client.says("retrying", "not_a_gateway")
    assert elsewhere.visits == []
    client.is_fine_with_an_honest_server()


@pytest.mark.parametrize("reason", ["credentials", "expired"])
def test_a_refusal_is_believed_but_forgets_nothing(client: Visitor, reason: str) -> None:
    """A refused password stays in the keyring, and is not sent again."""
    before = client.stored()
    client.meets(answering(type="rejected", reason=reason))
    client.says("needs_password", reason)
    eventually(lambda: client.stored() == replace(before, refused=reason))
    client.reconnect()
    sleep(1)  # no event shows that nothing happens
    assert len(client.gateway.visits) == 1
    client.gateway.play(honest())
    client.log_in(PASSWORD)
    client.says("standby")
    assert client.stored() == before


@pytest.mark.parametrize("case", BOXES)
def test_a_box_that_is_not_for_us(client: Visitor, case: str) -> None:
    """A box that cannot be for this client is reported, and the password stays."""
    boxed, reason = BOXES[case]
    reports: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        hello = await peer.log_in()
        peer.send(push("a" * 32, boxed(hello["device"])))
        reports.append(await peer.receive())

    before = client.stored()
    client.connects_to(script)
    eventually(lambda: reports)
    assert reports == [{"type": "update_failed", "change_id": "a" * 32, "reason": reason}]
    client.says("standby_old_password")
    assert client.stored() == before


def test_a_pushed_password_is_kept_only_when_it_is_proven(client: Visitor) -> None:
    """A pushed password that only an impostor has accepted is dropped at the server's refusal."""
    reports: list[dict[str, Any]] = []

    async def impostor_at_the_end(peer: Peer) -> None:
        hello = await peer.log_in()
        peer.send(push("a" * 32, seal(hello["device"], box(hello["device"]))))
        await peer.challenge(await peer.receive())
        await peer.receive()
        peer.send(welcome(EARLIER_SIGNATURE))

    async def right(peer: Peer) -> None:
        await peer.log_in()
        reports.append(await peer.receive())

    before = client.stored()
    client.meets(impostor_at_the_end)
    client.says("retrying", "impostor")
    assert client.stored() == replace(before, pending=Pending(change_id="a" * 32, password=NEXT))
    client.connects_to(right)
    client.says("standby")
    eventually(lambda: reports)
    assert reports == [{"type": "update_failed", "change_id": "a" * 32, "reason": "refused"}]
    eventually(lambda: client.stored() == before)


@pytest.mark.parametrize("signature", [None, "forged", "of another", "of the box it knows"])
def test_who_passes_a_login_on_pushes_nothing(client: Visitor, signature: str | None) -> None:
    """A relay between client and server cannot push: nothing of its push is stored."""

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

    before = client.stored()
    client.meets(in_the_middle)
    client.says("retrying", "impostor")
    assert client.stored() == before
    client.is_fine_with_an_honest_server()


def test_logs_have_no_secret(client: Visitor, log: io.StringIO) -> None:
    """Logs at level DEBUG have neither passwords nor proofs."""
    encoded = json.loads(client.stored().encode())
    for secret in ("evil.example", PASSWORD, NEXT, "c=biws", encoded["device_key"]):
        assert secret not in log.getvalue()


def test_silence(silenced: list[tuple[str, Visitor]]) -> None:
    """The client waits 20 s for a silent server at each step, and then before it retries."""
    for reason, one in silenced:
        eventually(one.gateway.first_has_ended, within_s=40)
        first, *later = one.gateway.visits
        assert first.ended is not None
        assert first.ended - first.began < 30
        assert reason != "timed_out" or first.ended - first.began > 19
        assert eventually(one.first_trouble) == reason
        least_s = SOON_S if reason == "timed_out" else LATER_S
        assert all(visit.began - first.ended > least_s for visit in later)
        assert one.stored().password == PASSWORD
