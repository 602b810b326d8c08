"""The doctor names the step that fails: each one broken for real, on loopback."""

from __future__ import annotations

from dataclasses import dataclass, field
from gettext import NullTranslations
from pathlib import Path

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
from tests.support.listeners import listening, says, unused_port


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
        checks = doctor.examine(settings, self.paths, NullTranslations(), vault=self.vault)
        return [check async for check in checks]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(find_paths({"COCONOWORK_HOME": str(tmp_path / "home")}))


def failing(checks: list[Check]) -> Check:
    """Return the check that failed: the last, and the only one."""
    assert [check.outcome for check in checks[:-1]].count(Outcome.FAILED) == 0
    assert checks[-1].outcome is Outcome.FAILED
    return checks[-1]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Trust a certificate authority, as an organisation adds its own to its PCs."""
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


async def test_no_server_is_set(patient: Patient) -> None:
    """The first step: nothing can be examined."""
    check = failing(await patient.examine(None))
    assert check.step is Step.SETTINGS
    assert "login" in check.text


async def test_nobody_is_signed_in(patient: Patient) -> None:
    """The way to the server is examined all the same."""
    async with FakeGateway().running() as server:
        checks = await patient.examine(server, None)
    outcomes = {check.step: check.outcome for check in checks}
    assert outcomes[Step.KEYRING] is outcomes[Step.LOGIN] is Outcome.SKIPPED
    assert outcomes[Step.GATEWAY] is Outcome.OK


@pytest.mark.parametrize("reason", [Reason.VAULT_LOCKED, Reason.VAULT_MISSING, Reason.VAULT_BROKEN])
async def test_the_keyring(patient: Patient, reason: Reason) -> None:
    """Locked, missing or broken, with what to do about it."""
    patient.vault.failure = reason
    check = failing(await patient.examine("ws://127.0.0.1:1/gateway"))
    assert check.step is Step.KEYRING
    assert "password store" in check.text


async def test_nothing_is_stored(patient: Patient) -> None:
    """The settings name a user, but the keyring has no password."""
    check = failing(await patient.examine("ws://127.0.0.1:1/gateway"))
    assert check.step is Step.KEYRING
    assert "tanaka" in check.text


async def test_no_such_name(patient: Patient) -> None:
    """A name that never exists (RFC 6761)."""
    server = "wss://gw.invalid/gateway"
    patient.store(server)
    check = failing(await patient.examine(server))
    assert check.step is Step.NAME
    assert "gw.invalid" in check.text


async def test_nobody_listens(patient: Patient) -> None:
    """The port is closed."""
    port = await unused_port()
    server = f"ws://127.0.0.1:{port}/gateway"
    patient.store(server)
    check = failing(await patient.examine(server))
    assert check.step is Step.NETWORK
    assert str(port) in check.text


async def test_an_unknown_authority(patient: Patient, authority: Authority) -> None:
    """The organisation's root certificate is missing on this PC."""
    async with FakeGateway().running(tls=authority.context()) as server:
        patient.store(server)
        check = failing(await patient.examine(server))
    assert check.step is Step.CERTIFICATE
    assert "authority is not trusted" in check.text


@pytest.mark.parametrize(
    ("name", "days", "said"),
    [
        ("127.0.0.1", (-9, -1), "expired"),
        ("127.0.0.1", (1, 9), "not valid yet"),
        ("gw.example.com", (-1, 9), "another server's name"),
    ],
)
async def test_a_bad_certificate(
    patient: Patient, trusted: Authority, name: str, days: tuple[int, int], said: str
) -> None:
    """Which of the things that can be wrong with it."""
    async with FakeGateway().running(tls=trusted.context(name, days=days)) as server:
        patient.store(server)
        check = failing(await patient.examine(server))
    assert check.step is Step.CERTIFICATE
    assert said in check.text


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "HTTP 403"), (401, "HTTP 401"), (503, "not available"), (302, "did not come")],
)
async def test_something_else_answers(patient: Patient, status: int, said: str) -> None:
    """A portal, a firewall, a server that is being stopped."""
    async with FakeGateway(http(f"{status} no")).running() as server:
        patient.store(server)
        check = failing(await patient.examine(server))
    assert check.step is Step.GATEWAY
    assert said in check.text


async def test_a_wrong_password(patient: Patient) -> None:
    """Said by the server, once; the password is in no text."""
    async with (gateway := FakeGateway()).running() as server:
        patient.store(server, WRONG)
        checks = await patient.examine(server)
    assert failing(checks).step is Step.LOGIN
    assert "password is wrong" in failing(checks).text
    assert len(gateway.hellos) == 1
    assert WRONG not in repr(checks)


async def test_a_refused_password_is_not_sent_again(patient: Patient) -> None:
    """The doctor tries no refused password, neither the stored nor a pushed one."""
    pending = Pending(change_id="0" * 32, password=WRONG, refused=True)
    async with (gateway := FakeGateway()).running() as server:
        patient.store(server, refused="expired", pending=pending)
        check = failing(await patient.examine(server))
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
    old = honest(
        {PASSWORD: "old"}, server_time="2020-01-01T00:00:00Z", valid_until="2020-01-06T00:00:00Z"
    )
    async with FakeGateway(old).running() as server:
        patient.store(server)
        checks = await patient.examine(server)
    assert checks[-1].outcome is Outcome.OK
    assert "5 days" in checks[-1].text
    assert "clock differs" in checks[-1].text


@pytest.mark.parametrize(
    ("refusal", "said"),
    [("disabled", "disabled"), ("blocked", "disconnected"), ("throttled", "failed logins")],
)
async def test_other_refusals(patient: Patient, refusal: str, said: str) -> None:
    """Each in its own words."""
    gateway = FakeGateway(answering(type="rejected", reason=refusal))
    async with gateway.running() as server:
        patient.store(server)
        check = failing(await patient.examine(server))
    assert check.step is Step.LOGIN
    assert said in check.text


async def test_an_impostor(patient: Patient) -> None:
    """A server that does not know the password's verifier."""
    lie = answering(
        type="welcome", scram="v=" + "A" * 43 + "=", password="current", server_time=at()
    )
    async with FakeGateway(lie).running() as server:
        patient.store(server)
        check = failing(await patient.examine(server))
    assert check.step is Step.LOGIN
    assert "could not prove" in check.text


async def test_a_silent_server(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor gives up on a server that accepts the connection and sends nothing."""
    monkeypatch.setattr(doctor, "STEP_TIMEOUT_S", 0.5)

    async def silent(peer: Peer) -> None:
        await peer.upgrade()

    async with FakeGateway(silent).running() as server:
        patient.store(server)
        check = failing(await patient.examine(server))
    assert check.step is Step.LOGIN
    assert "does not answer" in check.text


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


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "user name and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses"),
    ],
)
async def test_a_proxy_that_refuses(patient: Patient, answer: bytes, said: str) -> None:
    """Named as the proxy, with its address but not its login."""
    server = "wss://gw.example.com/gateway"
    patient.store(server)
    async with listening(says(answer)) as port:
        patient.proxy = f"http://me:hidden-word@127.0.0.1:{port}"
        checks = await patient.examine(server)
    check = failing(checks)
    assert check.step is Step.NETWORK
    assert said in check.text
    assert "hidden-word" not in repr(checks)


async def test_a_proxy_setting_that_cannot_be_used(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor names the variable, and quotes nothing of its value."""
    monkeypatch.setenv("https_proxy", "http://me:hidden#w/ord?@proxy:99999")
    patient.proxy = "system"
    patient.store("wss://gw.example.com/gateway")
    checks = await patient.examine("wss://gw.example.com/gateway")
    check = failing(checks)
    assert check.step is Step.SETTINGS
    assert "https_proxy" in check.text
    assert "hidden" not in repr(checks)


async def test_a_server_name_that_only_a_proxy_could_know(patient: Patient) -> None:
    """With a SOCKS proxy that leaves names to this PC, the server's name is what fails."""
    async with listening(says(b"\x05\x00", after=b"\x00")) as port:
        patient.proxy = f"socks5://127.0.0.1:{port}"
        patient.store("wss://no-such-host.invalid/gateway")
        check = failing(await patient.examine("wss://no-such-host.invalid/gateway"))
    assert check.step is Step.NAME
    assert "name is not known" in check.text


async def test_a_proxy_that_is_not_there(patient: Patient) -> None:
    """Its port is closed: the proxy is named, not the server."""
    patient.proxy = f"http://127.0.0.1:{await unused_port()}"
    server = "wss://gw.example.com/gateway"
    patient.store(server)
    check = failing(await patient.examine(server))
    assert check.step is Step.NETWORK
    assert "proxy cannot be reached" in check.text


async def test_run_says_it_and_answers_with_the_exit_code(patient: Patient) -> None:
    """Step by step, then the step that fails; 1, or 0 when nothing does."""
    said: list[str] = []
    async with FakeGateway().running() as server:
        patient.store(server)
        settings = Settings(
            server=server, user="tanaka", proxy="none", origins={"proxy": "here", "server": "there"}
        )
        arguments = (settings, patient.paths, NullTranslations(), said.append)
        assert await doctor.run(*arguments, vault=patient.vault) == 0
        assert said[-1] == "Nothing is wrong."
        assert "    proxy = none  (here)" in said
        patient.vault.failure = Reason.VAULT_LOCKED
        said.clear()
        assert await doctor.run(*arguments, vault=patient.vault) == 1
    assert said[-1] == "The step that fails: Password store"
    assert "Password store: FAILED" in said
