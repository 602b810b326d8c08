"""The real client against servers that lie, babble, fall silent or are something else.

Whatever they do: nothing that was not proven is stored, the reason that is shown is the right
one, the client goes on living, waits a while before it comes again, and says no traceback.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest
from websockets.frames import Close, Opcode

from agent.adapters.control import ask
from server.stage import Client
from tests.integration.conftest import ROOT
from tests.integration.false_gateway import (
    USER,
    FalseGateway,
    Peer,
    Script,
    at,
    false_gateways,
    seal,
)

pytestmark = pytest.mark.keyring

PASSWORD, NEXT = "Current-1", "Pushed-22"
SOON_S, LATER_S = 0.3, 6.0
"""The shortest first delay where a network may come back, and where somebody has to mend it."""

VAULT = """
import sys
from agent.adapters.vault import KeyringVault
from agent.core.record import Identity, encode_record
for line in sys.stdin:
    server, *copy_to = (Identity(server=each, user="user") for each in line.split())
    record = KeyringVault().read(server)
    for other in copy_to:
        KeyringVault().write(other, record)
    print(record and encode_record(record), flush=True)
"""


@dataclass
class Pc:
    """A client process, the one gateway it knows, and a way to look into its keyring."""

    client: Client
    gateway: FalseGateway
    vault: subprocess.Popen[str]
    seen: int = 0
    """Lines of the client's output that a test has looked at."""

    def sign_in(self) -> None:
        """At an honest server, by the command."""
        self.gateway.play(honest)
        code, said = self.client.command(
            "login", "--server", self.gateway.address, "--user", USER, answer=PASSWORD
        )
        assert code == 0, said

    def be_signed_in_like(self, other: Pc) -> None:
        """Without a login, which takes its time."""
        config = other.client.paths.config_file.read_text("utf-8")
        assert other.gateway.address in config
        config = config.replace(other.gateway.address, self.gateway.address)
        self.client.paths.config_file.write_text(config, "utf-8")
        self._ask_vault(other.gateway.address, self.gateway.address)

    def stored(self) -> dict[str, Any]:
        """What the keyring has."""
        return self._ask_vault(self.gateway.address)

    def _ask_vault(self, *addresses: str) -> dict[str, Any]:
        assert self.vault.stdin is not None
        assert self.vault.stdout is not None
        self.vault.stdin.write(" ".join(addresses) + "\n")
        self.vault.stdin.flush()
        record: dict[str, Any] = json.loads(self.vault.stdout.readline())
        return record

    def meets(self, script: Script) -> None:
        """Have the client come to a gateway that does this, until one connection has ended."""
        self.gateway.play(script)
        self.reconnect()
        wait(self.gateway.first_has_ended)

    def reconnect(self) -> None:
        """As from the menu."""
        asyncio.run(ask(self.client.paths, {"command": "reconnect"}, timeout_s=10))

    def is_fine_with_an_honest_server(self) -> None:
        """It gets over everything that was done to it."""
        self.gateway.play(honest)
        self.reconnect()
        self.client.wait_for("standby")

    def says(self, state: str, reason: str | None) -> dict[str, Any]:
        """Its status once it is that."""

        def status() -> dict[str, Any] | None:
            found = self.client.status()
            is_it = found is not None and (found["state"], found["reason"]) == (state, reason)
            return found if is_it else None

        found: dict[str, Any] = wait(status, or_say=self.client.status)
        return found

    def troubles(self) -> list[str]:
        """The lines in which it has said what is wrong."""
        return [line for line in self.client.output if "trouble: " in line]

    def quit(self) -> None:
        """As from the menu."""
        if self.client.running:
            asyncio.run(ask(self.client.paths, {"command": "quit"}, timeout_s=10))
            wait(lambda: not self.client.running)

    def check(self) -> None:
        """No script went wrong, the client lives, and it has said no traceback."""
        faults, self.gateway.faults = self.gateway.faults, []
        assert faults == []
        assert self.client.running
        new, self.seen = self.client.output[self.seen :], len(self.client.output)
        assert not [line for line in new if "Traceback" in line or " ERROR " in line]


def wait(
    check: Callable[[], Any], *, within_s: float = 20, or_say: Callable[[], object] = lambda: ""
) -> Any:
    """What `check` returns once it is true."""
    end = monotonic() + within_s
    while not (found := check()):
        assert monotonic() < end, or_say()
        sleep(0.02)
    return found


# --- what the gateways do


async def honest(peer: Peer) -> None:
    hello = None
    while True:
        await peer.log_in({PASSWORD: "current"}, hello)
        hello = await peer.receive()


def http(answer: str) -> Script:
    """An HTTP answer; HTML follows."""

    async def script(peer: Peer) -> None:
        await peer.request()
        page = b"<html><body>Please accept our terms</body></html>"
        head = f"HTTP/1.1 {answer}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}"
        peer.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + page)

    return script


def raw(data: bytes) -> Script:
    """No HTTP at all."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(data)

    return script


def upgrade(*, without: str = "", **headers: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.upgrade(without=without, **headers)

    return script


def text(message: str | dict[str, Any]) -> Script:
    """A message instead of the challenge."""

    async def script(peer: Peer) -> None:
        await peer.hello()
        peer.send(message)

    return script


def frame(opcode: Opcode, data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.hello()
        peer.frame(opcode, data)

    return script


async def compressed(peer: Peer) -> None:
    """A frame with the bit for it, though nobody has agreed to that."""
    await peer.hello()
    peer.write(bytes([0xC0 | Opcode.TEXT, 2]) + b"{}")


def closing(code: int) -> Script:
    return frame(Opcode.CLOSE, Close(code, "").serialize())


async def flood(peer: Peer) -> None:
    """A message that never ends, in small frames."""
    await peer.hello()
    for number in range(40):
        peer.frame(Opcode.TEXT if number == 0 else Opcode.CONT, b"[" * 1000, fin=False)


async def flood_of_headers(peer: Peer) -> None:
    await peer.request()
    peer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-Filler: x\r\n" * 5000)


def hanging_up(after: str) -> Script:
    """Cut the connection at a step of the login."""

    async def script(peer: Peer) -> None:
        if after == "request":
            await peer.request()
        elif after == "upgrade":
            await peer.upgrade()
        elif after != "accept":
            hello = await peer.hello()
            if after == "proof":
                await peer.challenge(hello)
                await peer.receive()
            elif after == "challenge":
                await peer.challenge(hello)
        peer.hang_up()

    return script


def challenging(form: str) -> Script:
    """A challenge of this form; a client must not answer it."""

    async def script(peer: Peer) -> None:
        nonce = (await peer.hello())["scram"].partition(",r=")[2]
        peer.send({"type": "challenge", "scram": form.format(nonce=nonce)})
        raise AssertionError(f"it answered: {await peer.receive()}")

    return script


def answering(**answer: Any) -> Script:
    """This for an answer to the proof, by a server that does not know the password."""

    async def script(peer: Peer) -> None:
        hello = await peer.hello()
        await peer.challenge(hello)
        await peer.receive()
        peer.send(answer)

    return script


async def replay(peer: Peer) -> None:
    """The whole of what an honest server has said in an earlier session."""
    await peer.hello()
    peer.send({"type": "challenge", "scram": f"r=old,s={SALT_TEXT},i=600000"})
    peer.send(welcome(EARLIER_SIGNATURE))


SALT_TEXT = b64encode(b"0123456789abcdef").decode()
EARLIER_SIGNATURE = f"v={b64encode(bytes(range(32))).decode()}"
PUSH = {
    "type": "password_changed",
    "change_id": "0" * 32,
    "sealed": "A" * 200,
    "valid_until": "2030-01-01T00:00:00Z",
}


def welcome(scram: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "welcome",
        "scram": scram,
        "password": "current",
        "server_time": "2020-01-01T00:00:00Z",
        "console_url": "https://evil.example/",
        **fields,
    }


# --- the stage


@pytest.fixture(scope="module")
def gateways() -> Iterator[Iterator[FalseGateway]]:
    with false_gateways(7) as found:
        yield iter(found)
        assert [fault for gateway in found for fault in gateway.faults] == []


@pytest.fixture(scope="module")
def new_pc(
    gateways: Iterator[FalseGateway],
    keyring_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], Pc]]:
    """`new_pc()`: a client that does not run, and has a gateway of its own."""
    environ = {**os.environ, **keyring_environment, "COCONOWORK_LOG_LEVEL": "debug"}
    environ.pop("DISPLAY", None)
    made: list[Pc] = []
    with subprocess.Popen(
        [sys.executable, "-c", VAULT],
        env=environ,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as vault:

        def make() -> Pc:
            one = Pc(Client(tmp_path_factory.mktemp("pc"), environ), next(gateways), vault)
            made.append(one)
            return one

        yield make
        try:
            for each in made:
                each.quit()
        finally:
            for each in made:
                each.client.stop()


@pytest.fixture(scope="module")
def running(new_pc: Callable[[], Pc]) -> Pc:
    """The client that most tests share."""
    one = new_pc()
    one.sign_in()
    one.client.start()
    one.client.wait_for("standby")
    return one


@pytest.fixture(scope="module")
def silenced(running: Pc, new_pc: Callable[[], Pc]) -> list[tuple[str, str, Pc]]:
    """Clients whose servers have fallen silent; they wait beside all other tests."""

    async def after_accept(peer: Peer) -> None:
        await peer.request()

    async def after_upgrade(peer: Peer) -> None:
        await peer.upgrade()

    async def after_challenge(peer: Peer) -> None:
        await peer.challenge(await peer.hello())

    async def instead_of_closing(peer: Peer) -> None:
        peer.closes = False
        await peer.log_in({PASSWORD: "current"})
        peer.send("x" * 16_385)

    scripts = {after_accept: "timed_out", after_upgrade: "timed_out"}
    scripts |= {after_challenge: "timed_out", instead_of_closing: "protocol"}
    found = []
    for script, reason in scripts.items():
        one = new_pc()
        one.be_signed_in_like(running)
        one.gateway.play(script)
        one.client.start()
        found.append((script.__name__, reason, one))
    return found


@pytest.fixture
def pc(running: Pc) -> Iterator[Pc]:
    yield running
    running.check()


# --- the tests


@pytest.mark.usefixtures("silenced")
def test_a_dead_server_is_not_hammered(pc: Pc) -> None:
    """The spans of the delays double from 3 s: at most five tries in the first six seconds."""
    pc.gateway.play(hanging_up("accept"))
    pc.reconnect()
    first = wait(lambda: pc.gateway.visits)[0].began
    wait(lambda: time() > first + 6)
    began = [visit.began for visit in pc.gateway.visits if visit.began < first + 6]
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert 1 <= len(began) <= 5
    assert all(gap >= SOON_S * 2**number for number, gap in enumerate(gaps)), gaps
    pc.is_fine_with_an_honest_server()


CASES: dict[str, tuple[Script, str, int | None, float]] = {
    # name: script, reason, the client's close code, least seconds before it comes again
    # --- not a gateway
    "captive portal": (http("200 OK"), "not_a_gateway", None, LATER_S),
    "not found": (http("404 Not Found"), "not_a_gateway", None, LATER_S),
    "401": (http("401 No\r\nWWW-Authenticate: Basic"), "http_unauthorized", None, LATER_S),
    "403": (http("403 Forbidden"), "http_forbidden", None, LATER_S),
    "407": (
        http('407 No\r\nProxy-Authenticate: Basic realm="x"'), "proxy_login", None, LATER_S
    ),
    "429": (http("429 No\r\nRetry-After: 700"), "too_many_requests", None, 700),
    "500": (http("500 No"), "unavailable", None, SOON_S),
    "503": (http("503 No\r\nRetry-After: 400"), "unavailable", None, 400),
    "503 with a date": (
        http(
            "503 No\r\nDate: Mon, 23 Nov 2026 08:00:00 GMT"
            "\r\nRetry-After: Mon, 23 Nov 2026 09:00:00 GMT"
        ),
        "unavailable", None, 3600,
    ),
    "503 with nonsense": (http("503 No\r\nRetry-After: -1e99"), "unavailable", None, SOON_S),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "not_a_gateway", None, LATER_S),
    "endless headers": (flood_of_headers, "not_a_gateway", None, LATER_S),
    "no accept": (upgrade(without="Sec-WebSocket-Accept"), "not_a_gateway", None, LATER_S),
    "wrong accept": (upgrade(Sec_WebSocket_Accept="AAAA"), "not_a_gateway", None, LATER_S),
    "no subprotocol": (
        upgrade(without="Sec-WebSocket-Protocol"), "not_a_gateway", 1002, LATER_S
    ),
    "other subprotocol": (upgrade(Sec_WebSocket_Protocol="mqtt"), "not_a_gateway", None, LATER_S),
    "compression": (
        upgrade(Sec_WebSocket_Extensions="permessage-deflate"), "not_a_gateway", None, LATER_S
    ),
    # --- no message of ours
    "empty": (text(""), "protocol", 1008, LATER_S),
    "no JSON": (text("<html>"), "protocol", 1008, LATER_S),
    "no object": (text("[]"), "protocol", 1008, LATER_S),
    "no type": (text("{}"), "protocol", 1008, LATER_S),
    "nested": (text("[" * 16_000), "protocol", 1008, LATER_S),
    "wrong field": (text({"type": "challenge", "scram": 5}), "protocol", 1008, LATER_S),
    "unknown reason": (text({"type": "bye", "reason": "x"}), "protocol", 1008, LATER_S),
    "a wait of a year": (
        text({"type": "rejected", "reason": "throttled", "retry_after_s": 31_536_000}),
        "protocol", 1008, LATER_S,
    ),
    "too long": (text("x" * 16_385), "protocol", 1009, LATER_S),
    "flood": (flood, "protocol", 1009, LATER_S),
    "binary": (frame(Opcode.BINARY, b"{}"), "protocol", 1003, LATER_S),
    "no UTF-8": (frame(Opcode.TEXT, b'"\xff"'), "protocol", 1007, LATER_S),
    "compressed": (compressed, "protocol", 1002, LATER_S),
    # --- out of turn
    "welcome at once": (text(welcome(EARLIER_SIGNATURE)), "protocol", 1000, LATER_S),
    "push before welcome": (text(PUSH), "protocol", 1000, LATER_S),
    "push for a proof": (answering(**PUSH), "protocol", 1000, LATER_S),
    "status before welcome": (
        text({"type": "password_status", "password": "current", "server_time": at()}),
        "protocol", 1000, LATER_S,
    ),
    "two challenges": (
        answering(type="challenge", scram="r=x,s=AAAA,i=600000"), "protocol", 1000, LATER_S
    ),
    "refused unheard": (text({"type": "rejected", "reason": "credentials"}), "protocol", 1000, 6),
    "expired unheard": (text({"type": "rejected", "reason": "expired"}), "protocol", 1000, LATER_S),
    # --- what a false server would like to have
    "one iteration": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=1"), "protocol", 1000, LATER_S
    ),
    "599,999 iterations": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=599999"), "protocol", 1000, LATER_S
    ),
    "5,000,001 iterations": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=5000001"), "protocol", 1000, LATER_S
    ),
    "two counts": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=600000,i=1"), "protocol", 1000, LATER_S
    ),
    "10^9 iterations": (
        challenging(f"r={{nonce}}x,s={SALT_TEXT},i=1000000000"), "protocol", 1000, LATER_S
    ),
    "no salt": (challenging("r={nonce}x,s=,i=600000"), "protocol", 1000, LATER_S),
    "our nonce only": (
        challenging(f"r={{nonce}},s={SALT_TEXT},i=600000"), "protocol", 1000, LATER_S
    ),
    "replayed challenge": (
        challenging(f"r=earlier,s={SALT_TEXT},i=600000"), "protocol", 1000, LATER_S
    ),
    "replayed session": (replay, "protocol", 1000, LATER_S),
    "impostor": (answering(**welcome(EARLIER_SIGNATURE)), "impostor", 1000, LATER_S),
    "impostor of few words": (answering(**welcome("v=")), "impostor", 1000, LATER_S),
    "impostor with an old password": (
        answering(**welcome(EARLIER_SIGNATURE, password="old", valid_until=at(1))),
        "impostor", 1000, LATER_S,
    ),
    # --- sent away
    "disabled": (text({"type": "rejected", "reason": "disabled"}), "disabled", 1000, LATER_S),
    "blocked": (answering(type="rejected", reason="blocked"), "blocked", 1000, LATER_S),
    "version": (text({"type": "rejected", "reason": "version"}), "version", 1000, LATER_S),
    "throttled": (
        text({"type": "rejected", "reason": "throttled", "retry_after_s": 900}),
        "throttled", 1000, 900,
    ),
    "superseded": (text({"type": "bye", "reason": "superseded"}), "superseded", 1000, 300),
    "bye, disabled": (text({"type": "bye", "reason": "disabled"}), "disabled", 1000, LATER_S),
    "bye, blocked": (text({"type": "bye", "reason": "blocked"}), "blocked", 1000, LATER_S),
    "shutting down": (
        text({"type": "bye", "reason": "shutting_down", "retry_after_s": 86_400}),
        "shutting_down", 1000, 86_400,
    ),
    "closed, 1001": (closing(1001), "shutting_down", 1001, SOON_S),
    "closed, 1008": (closing(1008), "protocol", 1008, LATER_S),
    "closed, 1011": (closing(1011), "connection_lost", 1011, SOON_S),
    **{
        f"cut after {step}": (hanging_up(step), "connection_lost", None, SOON_S)
        for step in ("accept", "request", "upgrade", "hello", "challenge", "proof")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_proves_nothing(pc: Pc, case: str) -> None:
    """It changes nothing that is kept, is named rightly, and is left alone for a while."""
    script, reason, code, least_s = CASES[case]
    before = kept(pc)
    pc.meets(script)
    status = pc.says("waiting", reason)
    visit = next(each for each in reversed(pc.gateway.visits) if each.ended)
    assert visit.close_code == code
    next_try = datetime.fromisoformat(status["next_try_at"]).timestamp()
    assert next_try - visit.began >= least_s
    assert len(pc.gateway.visits) <= 2
    assert status["console_url"] is None
    assert kept(pc) == before


def kept(pc: Pc) -> tuple[Any, ...]:
    """All that the client keeps: the keyring's entry and its files."""
    paths = pc.client.paths
    files = [paths.config_file, *sorted(path for path in paths.state_dir.rglob("*"))]
    return pc.stored(), [(path.name, path.read_bytes()) for path in files if path.is_file()]


def test_redirects_are_not_followed(pc: Pc, gateways: Iterator[FalseGateway]) -> None:
    """Neither to `ws://` nor to another `wss://`; nobody comes to the place that is named."""
    elsewhere = next(gateways)
    elsewhere.play(honest)
    for address in (elsewhere.address, elsewhere.address.replace("ws:", "wss:")):
        pc.meets(http(f"302 Found\r\nLocation: {address}"))
        pc.says("waiting", "not_a_gateway")
    assert elsewhere.visits == []
    pc.is_fine_with_an_honest_server()


def test_status_as_a_user_sees_it(pc: Pc) -> None:
    """`status --json` names the reason, and when it tries again."""
    pc.meets(http("200 OK"))
    pc.says("waiting", "not_a_gateway")
    code, said = pc.client.command("status", "--json")
    status = json.loads(said)
    assert (code, status["state"], status["reason"]) == (0, "waiting", "not_a_gateway")
    assert datetime.fromisoformat(status["next_try_at"]).timestamp() > time()


@pytest.mark.parametrize("reason", ["credentials", "expired"])
def test_a_refusal_is_believed_but_forgets_nothing(pc: Pc, reason: str) -> None:
    """The client asks its user and tries no more by itself; the password stays in the keyring."""
    before = pc.stored()
    pc.meets(answering(type="rejected", reason=reason))
    pc.says("needs_password", reason)
    wait(lambda: pc.stored() == {**before, "refused": reason}, or_say=pc.stored)
    pc.reconnect()
    sleep(1)  # nothing is to happen: there is no event for that
    assert len(pc.gateway.visits) == 1
    pc.sign_in()
    pc.says("standby", None)
    assert pc.stored() == before


def box(device: dict[str, Any], **fields: Any) -> bytes:
    right = {"change_id": "a" * 32, "device_id": device["id"], "password": NEXT}
    return json.dumps({**right, **fields}).encode()


Boxed = Callable[[dict[str, Any]], str]
BOXES: dict[str, tuple[Boxed, str]] = {
    "another key": (
        lambda device: seal({"public_key": b64encode(bytes([9] * 32)).decode()}, box(device)),
        "unreadable",
    ),
    "another device": (lambda device: seal(device, box(device, device_id="b" * 32)), "unreadable"),
    "another change": (lambda device: seal(device, box(device, change_id="b" * 32)), "unreadable"),
    "one field more": (lambda device: seal(device, box(device, more=1)), "unreadable"),
    "no password": (lambda device: seal(device, box(device, password="")), "unreadable"),
    "1,025 characters": (
        lambda device: seal(device, box(device, password="x" * 1025)),
        "unreadable",
    ),
    "too big for a vault": (lambda device: seal(device, box(device, password="\\" * 800)), "vault"),
    "no JSON": (lambda device: seal(device, b"\xff" * 40), "unreadable"),
    "no box": (lambda _: "!" * 100, "unreadable"),
}


@pytest.mark.parametrize("case", BOXES)
def test_a_box_that_is_not_for_us(pc: Pc, case: str) -> None:
    """Even from a server that has proven itself: it is told so, and the password stays."""
    boxed, reason = BOXES[case]
    reports: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        hello = await peer.log_in({PASSWORD: "current"})
        sealed = boxed(hello["device"])
        peer.send({**PUSH, "change_id": "a" * 32, "sealed": sealed, "valid_until": at(9)})
        reports.append(await peer.receive())

    before = pc.stored()
    pc.gateway.play(script)
    pc.reconnect()
    wait(lambda: reports)
    assert reports == [{"type": "update_failed", "change_id": "a" * 32, "reason": reason}]
    pc.says("standby_old_password", None)
    assert pc.stored() == before


def test_a_pushed_password_is_kept_only_when_it_is_proven(pc: Pc) -> None:
    """Pushed by the right server, answered by an impostor, refused by the right one again."""
    reports: list[dict[str, Any]] = []

    async def impostor_at_the_end(peer: Peer) -> None:
        hello = await peer.log_in({PASSWORD: "current"})
        sealed = seal(hello["device"], box(hello["device"]))
        peer.send({**PUSH, "change_id": "a" * 32, "sealed": sealed, "valid_until": at(9)})
        await peer.challenge(await peer.receive())
        await peer.receive()
        peer.send(welcome(EARLIER_SIGNATURE))

    async def right(peer: Peer) -> None:
        await peer.log_in({PASSWORD: "current"})
        reports.append(await peer.receive())

    before = pc.stored()
    pc.meets(impostor_at_the_end)
    pc.says("waiting", "impostor")
    assert pc.stored() == {**before, "pending": {"change_id": "a" * 32, "password": NEXT}}
    pc.gateway.play(right)
    pc.reconnect()
    pc.says("standby", None)
    wait(lambda: reports)
    assert reports == [{"type": "update_failed", "change_id": "a" * 32, "reason": "refused"}]
    wait(lambda: pc.stored() == before, or_say=pc.stored)


def test_the_client_has_lived_through_it(pc: Pc) -> None:
    """The same process, after everything above, waits on an honest server."""
    pc.is_fine_with_an_honest_server()


def test_log_files_have_no_secret(pc: Pc) -> None:
    """Neither passwords nor proofs are in what the client has written at DEBUG."""
    log = Path(pc.client.paths.log_file).read_text("utf-8") + "\n".join(pc.client.output)
    assert "evil.example" not in log
    for secret in (PASSWORD, NEXT, "c=biws", pc.stored()["device_key"]):
        assert secret not in log


def test_silence(silenced: list[tuple[str, str, Pc]]) -> None:
    """It is borne for 20 s at each step, no longer; then the client lets time pass."""
    for step, reason, one in silenced:
        wait(one.gateway.first_has_ended, within_s=40)
        first, *later = one.gateway.visits
        assert first.ended is not None
        assert first.ended - first.began < 30, step
        assert reason != "timed_out" or first.ended - first.began > 19, step
        said = wait(one.troubles, or_say=lambda: str(silenced))[0]
        assert f"trouble: {reason}" in said, step
        least_s = SOON_S if reason == "timed_out" else LATER_S
        assert all(visit.began - first.ended > least_s for visit in later), step
        assert one.stored()["password"] == PASSWORD
        one.check()
