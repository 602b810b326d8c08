"""The doctor names the step that fails; each is really broken, on loopback."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from gettext import NullTranslations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent import doctor
from agent.core.credentials import Credentials, Identity, Pending
from agent.core.failure import Reason
from agent.core.state import State
from agent.core.view import View
from agent.desktop import open_channel
from agent.doctor import Step
from agent.paths import Paths, find_paths
from agent.report import describe
from agent.settings import Settings
from agent.vault_calls import VaultCalls
from protocol.sealing import new_device_key
from tests.support.certificates import Authority
from tests.support.channel_contract import serving
from tests.support.fake_gateway import (
    PASSWORD,
    WRONG,
    FakeGateway,
    Peer,
    answering,
    at,
    honest,
    http,
)
from tests.support.fakes import FakeVault
from tests.support.forward_proxies import Proxy
from tests.support.listeners import http as http_says
from tests.support.listeners import listening, says
from tests.support.ports import free_port

AWAY = "ws://127.0.0.1:1/gateway"
BEHIND = "wss://gw.example.com/gateway"
HTTP = "http://me:hidden-word@"
GONE = "wss://no-such-host.invalid/gateway"
PUSHED = Pending(change_id="0" * 32, password=WRONG)


@dataclass
class Patient:
    """A client's settings, profile and vault, and what the doctor has said of it."""

    paths: Paths
    vault: FakeVault = field(default_factory=FakeVault)
    proxy: str = "none"
    said: dict[Step, str] = field(default_factory=dict)
    """The text of each reported step."""
    outcomes: dict[Step, str] = field(default_factory=dict)

    def store(self, server: str, password: str = PASSWORD, **more: Any) -> Identity:
        identity = Identity(server=server, user="tanaka")
        record = Credentials(password=password, device_key=new_device_key(), **more)
        self.vault.write(identity, record)
        return identity

    async def examine(self, server: str | None, **more: Any) -> list[str]:
        """Run the doctor. Return the lines of outcomes; the exit code must fit the last one."""
        lines: list[str] = []
        settings = Settings(**{"server": server, "user": "tanaka", "proxy": self.proxy, **more})
        channel = open_channel(self.paths)
        code = await doctor.run(settings, channel, self.vault, NullTranslations(), lines.append)
        end = lines.pop()
        self.said, self.outcomes, name = {}, {}, ""
        for line in lines:
            if line.startswith("    "):
                self.said[Step(name)] += line
                continue
            name, _, outcome = line.partition(": ")
            for found, text in ((self.said, ""), (self.outcomes, outcome)):
                found.pop(Step(name), None)  # a good step may fail later
                found[Step(name)] = text
        assert end == (f"The step that fails: {name}" if code else "Nothing is wrong.")
        return list(self.outcomes.values())

    async def fails(self, server: str | None, **more: Any) -> tuple[Step, str]:
        """Return the last step, which failed, and its text. No text may have a password."""
        *before, last = await self.examine(server, **more)
        assert "FAILED" not in before
        assert last == "FAILED"
        assert WRONG not in str(self.said)
        assert "hidden" not in str(self.said)
        return list(self.said.items())[-1]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """Return a client with a password for a server that is away."""
    made = Patient(find_paths({"COCONOWORK_HOME": str(tmp_path / "home")}))
    made.store(AWAY)
    made.store(BEHIND)
    return made


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Trust a certificate authority, as an organisation adds its own to its PCs."""
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


async def test_everything_is_well(patient: Patient, trusted: Authority) -> None:
    """Over TLS with a trusted certificate, every step succeeds and is reported."""
    async with (gateway := FakeGateway()).running(tls=trusted.context()) as server:
        patient.store(server)
        await patient.examine(server, origins={"proxy": "here"})
    assert patient.outcomes == {**dict.fromkeys(Step, "ok"), Step.CLIENT: "skipped"}
    assert "proxy = none  (here)" in patient.said[Step.SETTINGS]
    assert "valid until" in patient.said[Step.CERTIFICATE]
    assert len(gateway.hellos) == 1


async def test_nobody_is_signed_in(patient: Patient) -> None:
    """Without a server nothing is examined; without a user, the steps before the login."""
    step, said = await patient.fails(None)
    assert (step, "login" in said) == (Step.SETTINGS, True)
    async with FakeGateway().running() as server:
        await patient.examine(server, user=None)
    outcomes = patient.outcomes
    assert outcomes[Step.KEYRING] == outcomes[Step.LOGIN] == "skipped"
    assert outcomes[Step.GATEWAY] == "ok"


async def test_the_keyring(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyring failures: no password for the user, locked, or no answer in time."""
    step, said = await patient.fails(GONE)
    assert (step, "tanaka" in said) == (Step.KEYRING, True)
    patient.vault.failure = Reason.VAULT_LOCKED
    step, said = await patient.fails(AWAY)
    assert (step, "password store" in said) == (Step.KEYRING, True)
    released = threading.Event()
    monkeypatch.setattr(patient.vault, "read", lambda _: released.wait(30))
    monkeypatch.setattr(VaultCalls, "call_s", 0.2)
    step, said = await patient.fails(AWAY)
    released.set()
    assert (step, "does not answer" in said) == (Step.KEYRING, True)


@pytest.mark.parametrize(
    ("proxy", "server", "talk", "failing", "expected"),
    [
        (None, GONE, None, Step.NAME, "no-such-host.invalid"),
        (None, "ws://{closed}/gateway", None, Step.NETWORK, "127.0.0.1"),
        (HTTP, BEHIND, http_says("407 Login"), Step.NETWORK, "user name and password"),
        # This scheme has names resolved on this PC.
        ("socks5://", GONE, says(b"\x05\x00", after=b"\x00"), Step.NAME, "name is not known"),
        (HTTP, BEHIND, None, Step.NETWORK, "proxy cannot be reached"),
    ],
)
async def test_the_network(
    patient: Patient, *, proxy: str | None, server: str, talk: Any, failing: Step, expected: str
) -> None:
    """Network failures: an unknown name, a closed port, a proxy; its login is not shown."""
    closed = f"127.0.0.1:{free_port()}"
    server = server.format(closed=closed)
    patient.store(server)
    async with listening(talk or says(b"")) as port:
        if proxy:
            patient.proxy = proxy + (f"127.0.0.1:{port}" if talk else closed)
        step, said = await patient.fails(server)
    assert (step, expected in said) == (failing, True)


@pytest.mark.parametrize(
    ("name", "days", "expected"),
    [
        ("127.0.0.1", (-9, -1), "expired"),
        ("127.0.0.1", (1, 9), "not valid yet"),
        ("gw.example.com", (-1, 9), "another server's name"),
        ("127.0.0.1", (-1, 9), "authority is not trusted"),
    ],
)
async def test_a_bad_certificate(
    patient: Patient, trusted: Authority, name: str, days: tuple[int, int], expected: str
) -> None:
    """The doctor says what is wrong with a certificate, or names its unknown authority."""
    if "trusted" in expected:
        trusted.file.write_text("")
    async with FakeGateway().running(tls=trusted.context(name, days=days)) as server:
        patient.store(server)
        step, said = await patient.fails(server)
    assert step is Step.CERTIFICATE
    assert expected in said
    assert f"{name}, issued by" in said


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_bad_certificate_behind_a_proxy(
    patient: Patient, tmp_path: Path, kind: str
) -> None:
    """Behind a proxy the certificate chain is shown, too, also a captive portal's."""
    tls = Authority(tmp_path / "portal").context("login.hotel.example")
    async with FakeGateway(http("302 Log in")).running(tls=tls) as portal:
        proxy = Proxy("gw.example.com", urlsplit(portal).port or 0)
        async with listening(getattr(proxy, kind)) as port:
            patient.proxy = f"{kind.replace('5', '5h')}://127.0.0.1:{port}"
            step, said = await patient.fails(BEHIND)
    assert step is Step.CERTIFICATE
    assert "login.hotel.example, issued by" in said


async def silent(peer: Peer) -> None:
    await peer.upgrade()


IMPOSTOR = answering(
    type="welcome", scram="v=" + "A" * 43 + "=", password="current", server_time=at()
)


@pytest.mark.parametrize(
    ("script", "failing", "expected"),
    [
        (http("403 no"), Step.GATEWAY, "HTTP 403"),
        (answering(type="rejected", reason="disabled"), Step.LOGIN, "disabled"),
        (IMPOSTOR, Step.LOGIN, "could not prove"),
        (silent, Step.LOGIN, "does not answer"),
        (honest(), Step.LOGIN, "password is wrong"),
    ],
)
async def test_the_servers_answer(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, script: Any, failing: Step, expected: str
) -> None:
    """Server failures: a firewall, a refusal, an impostor, silence, a wrong password."""
    monkeypatch.setattr(doctor, "STEP_TIMEOUT_S", 0.5 if script is silent else 20)
    async with (gateway := FakeGateway(script)).running() as server:
        patient.store(server, WRONG)
        step, said = await patient.fails(server)
    assert (step, expected in said) == (failing, True)
    assert len(gateway.hellos) <= 1


async def test_passwords_are_tried_as_by_the_client(patient: Patient) -> None:
    """The doctor tries the pending password, then the current one, not a refused one."""
    async with (gateway := FakeGateway()).running() as server:
        patient.store(server, pending=PUSHED)
        assert (await patient.examine(server))[-1] == "ok"
        assert len(gateway.hellos) == 2
        refused = Pending(change_id="0" * 32, password=WRONG, refused=True)
        patient.store(server, refused="expired", pending=refused)
        step, said = await patient.fails(server)
        assert (step, "no longer valid" in said) == (Step.LOGIN, True)
        assert len(gateway.hellos) == 2
    assert len(patient.vault.writes) == 4  # all by the test


async def test_an_old_password_and_a_wrong_clock(patient: Patient) -> None:
    """Notes, not failures: days left by the server's clock, and the PC clock's error."""
    times: dict[str, Any] = {
        "server_time": "2020-01-01T00:00:00Z",
        "valid_until": "2020-01-06T00:00:00Z",
    }

    async def script(peer: Peer) -> None:
        await peer.upgrade(Date="Wed, 01 Jan 2020 00:00:00 GMT")
        await peer.log_in({PASSWORD: "old"}, await peer.receive(), **times)

    async with FakeGateway(script).running() as server:
        patient.store(server)
        assert (await patient.examine(server))[-1] == "ok"
    assert "5 days" in patient.said[Step.LOGIN]
    assert "clock differs" in patient.said[Step.GATEWAY]


async def test_a_server_that_policy_has_moved(patient: Patient) -> None:
    """After policy moved the server, the password of the former server is tried at the new one."""
    stored = patient.vault.entries.copy()
    former = Identity(server=AWAY, user="tanaka")
    async with FakeGateway().running() as server:
        outcomes = await patient.examine(server, enforced=frozenset({"server"}), last_login=former)
    assert outcomes[-1] == "ok"
    assert patient.vault.entries == stored


@pytest.mark.parametrize("answer", ["good", "none", "odd"])
async def test_a_running_client_keeps_its_connection(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """While a client runs, even frozen, the doctor makes no login: it would end the client's."""
    monkeypatch.setattr(doctor, "ANSWER_S", 0.5)

    async def handle(_: object) -> dict[str, object]:
        if answer == "none":
            await asyncio.sleep(60)
        view = View(State.STANDBY, server=server, user="tanaka")
        return {"ok": True, "status": describe(view)} if answer == "good" else {"ok": True}

    async with (
        (gateway := FakeGateway()).running() as server,
        serving(open_channel(patient.paths), handle),
    ):
        patient.store(server)
        await patient.examine(server)
    assert gateway.hellos == []
    if answer == "good":
        assert (patient.outcomes[Step.CLIENT], patient.outcomes[Step.LOGIN]) == ("ok", "skipped")
    else:
        assert list(patient.outcomes.items())[-1] == (Step.CLIENT, "FAILED")
        assert ("does not answer" in patient.said[Step.CLIENT]) is (answer == "none")


async def test_the_next_of_several_proxies(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor, like the client, uses the first proxy that it can reach."""
    async with listening(http_says("403 Forbidden")) as port:
        proxies = [f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{port}", None]
        monkeypatch.setattr(doctor, "find_proxies", lambda *_: proxies)
        step, said = await patient.fails(BEHIND)
    assert (step, "refuses" in said) == (Step.NETWORK, True)


async def test_a_proxy_setting_that_cannot_be_used(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor names a bad proxy variable, and quotes nothing of its value."""
    monkeypatch.setenv("https_proxy", "http://me:hidden#w/ord?@proxy:99999")
    patient.proxy = "system"
    step, said = await patient.fails(BEHIND)
    assert (step, "https_proxy" in said) == (Step.SETTINGS, True)
