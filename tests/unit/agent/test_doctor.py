"""The doctor names the step that fails: each one broken for real, on loopback."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from functools import partial
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
from agent.doctor import Check, Outcome, Step
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
    Script,
    answering,
    at,
    honest,
    http,
)
from tests.support.fakes import FakeVault
from tests.support.forward_proxies import Proxy
from tests.support.listeners import Talk, listening, says, unused_port
from tests.support.listeners import http as http_says

AWAY = "ws://127.0.0.1:1/gateway"
BEHIND = "wss://gw.example.com/gateway"
HTTP = "http://me:hidden-word@"
GONE = "wss://no-such-host.invalid/gateway"


@dataclass
class Patient:
    """A client's settings, profile and vault."""

    paths: Paths
    vault: FakeVault = field(default_factory=FakeVault)
    proxy: str = "none"

    def store(self, server: str, password: str = PASSWORD, **more: object) -> Identity:
        identity = Identity(server=server, user="tanaka")
        record = Credentials(password=password, device_key=new_device_key(), **more)  # type: ignore[arg-type] # passed on
        self.vault.write(identity, record)
        return identity

    async def examine(self, server: str | None, user: str | None = "tanaka") -> list[Check]:
        settings = Settings(server=server, user=user, proxy=self.proxy)
        channel = open_channel(self.paths)
        checks = doctor.examine(settings, channel, self.vault, NullTranslations())
        return [check async for check in checks]

    async def fails(self, server: str | None, *, store: bool = True, **more: object) -> Check:
        """Return the check that failed: the last, and the only one. Passwords are in none."""
        if server is not None and store:
            self.store(server, **more)  # type: ignore[arg-type] # passed on
        checks = await self.examine(server)
        assert [check.outcome for check in checks[:-1]].count(Outcome.FAILED) == 0
        assert checks[-1].outcome is Outcome.FAILED
        assert WRONG not in repr(checks)
        assert "hidden" not in repr(checks)
        return checks[-1]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(find_paths({"COCONOWORK_HOME": str(tmp_path / "home")}))


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Trust a certificate authority, as an organisation adds its own to its PCs."""
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


async def test_everything_is_well(patient: Patient, trusted: Authority) -> None:
    """Over TLS with a trusted certificate, to the login, every step is reported."""
    async with (gateway := FakeGateway()).running(tls=trusted.context()) as server:
        patient.store(server)
        checks = await patient.examine(server)
    assert [check.step for check in checks] == list(Step)
    assert {check.step: check.outcome for check in checks} == {
        **dict.fromkeys(Step, Outcome.OK),
        Step.CLIENT: Outcome.SKIPPED,
    }
    assert "valid until" in checks[5].text
    assert len(gateway.hellos) == 1


async def test_nobody_is_signed_in(patient: Patient) -> None:
    """Without a server there is nothing to examine; without a user there is the way to it."""
    check = await patient.fails(None)
    assert (check.step, "login" in check.text) == (Step.SETTINGS, True)
    async with FakeGateway().running() as server:
        checks = await patient.examine(server, None)
    outcomes = {check.step: check.outcome for check in checks}
    assert outcomes[Step.KEYRING] is outcomes[Step.LOGIN] is Outcome.SKIPPED
    assert outcomes[Step.GATEWAY] is Outcome.OK


async def test_the_keyring(patient: Patient) -> None:
    """It has no password for the user of the settings, or is locked, missing or broken."""
    check = await patient.fails(AWAY, store=False)
    assert (check.step, "tanaka" in check.text) == (Step.KEYRING, True)
    for patient.vault.failure in (Reason.VAULT_LOCKED, Reason.VAULT_MISSING, Reason.VAULT_BROKEN):
        check = await patient.fails(AWAY, store=False)
        assert (check.step, "password store" in check.text) == (Step.KEYRING, True)


async def test_the_network(patient: Patient) -> None:
    """A name that never exists (RFC 6761), and a port that is closed, are named."""
    check = await patient.fails("wss://gw.invalid/gateway")
    assert (check.step, "gw.invalid" in check.text) == (Step.NAME, True)
    port = await unused_port()
    check = await patient.fails(f"ws://127.0.0.1:{port}/gateway")
    assert (check.step, str(port) in check.text) == (Step.NETWORK, True)


@pytest.mark.parametrize(
    ("name", "days", "said"),
    [
        ("127.0.0.1", (-9, -1), "expired"),
        ("127.0.0.1", (1, 9), "not valid yet"),
        ("gw.example.com", (-1, 9), "another server's name"),
        ("127.0.0.1", (-1, 9), "authority is not trusted"),
    ],
)
async def test_a_bad_certificate(
    patient: Patient, trusted: Authority, name: str, days: tuple[int, int], said: str
) -> None:
    """Which of the things that can be wrong with it, or the authority is not this PC's."""
    if "trusted" in said:
        trusted.file.write_text("")
    async with FakeGateway().running(tls=trusted.context(name, days=days)) as server:
        check = await patient.fails(server)
    assert check.step is Step.CERTIFICATE
    assert said in check.text
    assert f"{name}, issued by" in check.text


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_bad_certificate_behind_a_proxy(
    patient: Patient, tmp_path: Path, kind: str
) -> None:
    """The chain is shown there, too, also when what has it is a portal and no gateway."""
    tls = Authority(tmp_path / "portal").context("login.hotel.example")
    async with FakeGateway(http("302 Log in")).running(tls=tls) as portal:
        proxy = Proxy("gw.example.com", urlsplit(portal).port or 0)
        async with listening(getattr(proxy, kind)) as port:
            patient.proxy = f"{kind.replace('5', '5h')}://127.0.0.1:{port}"
            check = await patient.fails(BEHIND)
    assert check.step is Step.CERTIFICATE
    assert "login.hotel.example, issued by" in check.text


async def silent(peer: Peer) -> None:
    await peer.upgrade()


def refusing(reason: str) -> Script:
    return answering(type="rejected", reason=reason)


IMPOSTOR = answering(
    type="welcome", scram="v=" + "A" * 43 + "=", password="current", server_time=at()
)


@pytest.mark.parametrize(
    ("script", "step", "said"),
    [
        (http("403 no"), Step.GATEWAY, "HTTP 403"),
        (http("401 no"), Step.GATEWAY, "HTTP 401"),
        (http("503 no"), Step.GATEWAY, "not available"),
        (http("302 no"), Step.GATEWAY, "did not come"),
        (refusing("disabled"), Step.LOGIN, "disabled"),
        (refusing("blocked"), Step.LOGIN, "disconnected"),
        (refusing("throttled"), Step.LOGIN, "failed logins"),
        (IMPOSTOR, Step.LOGIN, "could not prove"),
        (silent, Step.LOGIN, "does not answer"),
        (honest(), Step.LOGIN, "password is wrong"),
    ],
)
async def test_the_servers_answer(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, script: Script, step: Step, said: str
) -> None:
    """A portal, a firewall, a refusal, an impostor, silence, or a wrong password."""
    monkeypatch.setattr(doctor, "STEP_TIMEOUT_S", 0.5 if script is silent else 20)
    async with (gateway := FakeGateway(script)).running() as server:
        check = await patient.fails(server, password=WRONG)
    assert check.step is step
    assert said in check.text
    assert len(gateway.hellos) <= 1


async def test_a_refused_password_is_not_sent_again(patient: Patient) -> None:
    """The doctor tries no refused password, neither the stored nor a pushed one."""
    pending = Pending(change_id="0" * 32, password=WRONG, refused=True)
    async with (gateway := FakeGateway()).running() as server:
        check = await patient.fails(server, refused="expired", pending=pending)
        assert gateway.hellos == []
        patient.store(server, pending=pending)
        assert (await patient.examine(server))[-1].outcome is Outcome.OK
        assert len(gateway.hellos) == 1
    assert check.step is Step.LOGIN
    assert "no longer valid" in check.text


async def test_a_pending_password_is_tried_first(patient: Patient) -> None:
    """The doctor tries the pending password first, then the stored one, as the client does."""
    async with (gateway := FakeGateway()).running() as server:
        patient.store(server, WRONG, pending=Pending(change_id="0" * 32, password=PASSWORD))
        checks = await patient.examine(server)
        assert checks[-1].outcome is Outcome.OK
        assert len(gateway.hellos) == 1
        patient.store(server, PASSWORD, pending=Pending(change_id="0" * 32, password=WRONG))
        checks = await patient.examine(server)
        assert checks[-1].outcome is Outcome.OK
        assert len(gateway.hellos) == 3


async def test_an_old_password_and_a_wrong_clock(patient: Patient) -> None:
    """No failure, but told: the days left by the server's clock, and how far this PC's is off."""
    times: dict[str, Any] = {
        "server_time": "2020-01-01T00:00:00Z",
        "valid_until": "2020-01-06T00:00:00Z",
    }

    async def script(peer: Peer) -> None:
        await peer.upgrade(Date="Wed, 01 Jan 2020 00:00:00 GMT")
        await peer.log_in({PASSWORD: "old"}, await peer.receive(), **times)

    async with FakeGateway(script).running() as server:
        patient.store(server)
        checks = await patient.examine(server)
    said = {check.step: check.text for check in checks}
    assert checks[-1].outcome is Outcome.OK
    assert "5 days" in said[Step.LOGIN]
    assert "clock differs" in said[Step.GATEWAY]


async def test_an_expired_push_is_no_wrong_password(patient: Patient) -> None:
    """The doctor goes on with the stored password where the client would log in."""
    scripts = iter([answering(type="rejected", reason="expired"), honest()])

    async def script(peer: Peer) -> None:
        await next(scripts)(peer)

    async with (gateway := FakeGateway(script)).running() as server:
        patient.store(server, pending=Pending(change_id="0" * 32, password=WRONG))
        assert (await patient.examine(server))[-1].outcome is Outcome.OK
    assert len(gateway.hellos) == 2
    assert len(patient.vault.writes) == 1  # of the test, none of the doctor's


async def test_a_server_that_policy_has_moved(patient: Patient) -> None:
    """The password that is stored for the former server is tried at the new one."""
    async with FakeGateway().running() as server:
        former = patient.store(AWAY)
        settings = Settings(
            server=server,
            user="tanaka",
            proxy="none",
            enforced=frozenset({"server"}),
            last_login=former,
        )
        checks = doctor.examine(
            settings, open_channel(patient.paths), patient.vault, NullTranslations()
        )
        assert [check.outcome async for check in checks][-1] is Outcome.OK
    assert list(patient.vault.entries) == [former]


async def test_a_keyring_that_hangs(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor says so in the client's time, and ends."""
    released = threading.Event()
    monkeypatch.setattr(patient.vault, "read", lambda _: released.wait(30))
    monkeypatch.setattr(doctor, "VaultCalls", partial(VaultCalls, call_s=0.2))
    try:
        check = await patient.fails(AWAY, store=False)
    finally:
        released.set()
    assert (check.step, "does not answer" in check.text) == (Step.KEYRING, True)


async def test_a_running_client_keeps_its_connection(patient: Patient) -> None:
    """The doctor asks it, and makes no login of its own: that would end the client's."""

    async def answer(_: object) -> dict[str, object]:
        return {"ok": True, "status": describe(View(State.STANDBY, server=server, user="tanaka"))}

    async with (
        (gateway := FakeGateway()).running() as server,
        serving(open_channel(patient.paths), answer),
    ):
        patient.store(server)
        checks = await patient.examine(server)
    outcomes = {check.step: check.outcome for check in checks}
    assert outcomes[Step.CLIENT] is Outcome.OK
    assert outcomes[Step.LOGIN] is Outcome.SKIPPED
    assert gateway.hellos == []


@pytest.mark.parametrize("answer", [None, {"ok": True}])
async def test_a_client_that_does_not_answer(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object] | None
) -> None:
    """A client that is frozen, or answers nothing of use, keeps its login: it is running."""
    monkeypatch.setattr(doctor, "ANSWER_S", 0.5)

    async def frozen(_: object) -> dict[str, object]:
        if answer is None:
            await asyncio.sleep(60)
        return answer or {}

    async with (
        (gateway := FakeGateway()).running() as server,
        serving(open_channel(patient.paths), frozen),
    ):
        check = await patient.fails(server)
    assert check.step is Step.CLIENT
    assert ("does not answer" in check.text) is (answer is None)
    assert gateway.hellos == []


@pytest.mark.parametrize(
    ("proxy", "server", "talk", "step", "said"),
    [
        (HTTP, BEHIND, http_says("407 Login"), Step.NETWORK, "user name and password"),
        (HTTP, BEHIND, http_says("403 Forbidden"), Step.NETWORK, "refuses"),
        # It leaves names to this PC.
        ("socks5://", GONE, says(b"\x05\x00", after=b"\x00"), Step.NAME, "name is not known"),
        (HTTP, BEHIND, None, Step.NETWORK, "proxy cannot be reached"),
    ],
)
async def test_a_proxy(
    patient: Patient, *, proxy: str, server: str, talk: Talk | None, step: Step, said: str
) -> None:
    """It refuses, cannot be reached, or leaves a name to this PC; its login is not shown."""
    async with listening(talk or says(b"")) as port:
        patient.proxy = f"{proxy}127.0.0.1:{port if talk else await unused_port()}"
        check = await patient.fails(server)
    assert check.step is step
    assert said in check.text


async def test_the_next_of_several_proxies(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor goes the way of the client: by the first proxy that can be reached."""
    async with listening(http_says("403 Forbidden")) as port:
        proxies = [f"http://127.0.0.1:{await unused_port()}", f"http://127.0.0.1:{port}", None]
        monkeypatch.setattr(doctor, "find_proxies", lambda *_: proxies)
        check = await patient.fails(BEHIND)
    assert (check.step, "refuses" in check.text) == (Step.NETWORK, True)


async def test_a_proxy_setting_that_cannot_be_used(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor names the variable, and quotes nothing of its value."""
    monkeypatch.setenv("https_proxy", "http://me:hidden#w/ord?@proxy:99999")
    patient.proxy = "system"
    check = await patient.fails(BEHIND)
    assert (check.step, "https_proxy" in check.text) == (Step.SETTINGS, True)


async def test_run_says_it_and_answers_with_the_exit_code(patient: Patient) -> None:
    """Step by step, then the step that fails; 1, or 0 when nothing does."""
    said: list[str] = []
    async with FakeGateway().running() as server:
        patient.store(server)
        settings = Settings(
            server=server, user="tanaka", proxy="none", origins={"proxy": "here", "server": "there"}
        )
        channel = open_channel(patient.paths)
        arguments = (settings, channel, patient.vault, NullTranslations(), said.append)
        assert await doctor.run(*arguments) == 0
        assert said[-1] == "Nothing is wrong."
        assert "    proxy = none  (here)" in said
        patient.vault.failure = Reason.VAULT_LOCKED
        said.clear()
        assert await doctor.run(*arguments) == 1
    assert said[-1] == "The step that fails: Password store"
    assert "Password store: FAILED" in said
