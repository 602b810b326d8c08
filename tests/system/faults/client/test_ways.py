"""Ways to the server that fail or work: what the user sees, the log, and the next try.

The clients are real processes, which all run at once. Each has a server of its own. There is a case
of each kind of failure and delay; `tests/unit/agent/core` has all failures.
"""

from __future__ import annotations

import os
import re
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import forward_proxies as proxies
from tests.support.certificates import Authority
from tests.support.fake_gateway import FakeGateway
from tests.support.forward_proxies import Proxy
from tests.support.listeners import Talk, silent, unused_port
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc, as_seen, quit_all
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring

NAME = "gateway.test"
"""The name of a server that only a proxy knows."""
SOON = (0.3, 3.0)
LATER = (6.0, 60.0)
RARELY = (300.0, 360.0)
"""Seconds from the first failure to the next try."""


@dataclass
class Place:
    """The address that a client is given, and its environment variables."""

    server: str
    variables: dict[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()


class Ways:
    """Makes ways to a server: direct, over TLS, over a proxy."""

    def __init__(self, servers: LoopThread, directory: Path) -> None:
        self.servers = servers
        self.directory = directory
        self.proxies: list[Proxy] = []
        self._authorities = 0

    def tls(self, *, name: str = "localhost", days: tuple[int, int] = (-1, 30)) -> Place:
        self._authorities += 1
        authority = Authority(self.directory / f"authority-{self._authorities}")
        tls = authority.context(name, days=days)
        address = self.servers.host(FakeGateway().running(tls=tls))
        trust = {"SSL_CERT_FILE": str(authority.file)}
        return Place(address.replace("127.0.0.1", "localhost"), trust)

    def behind(self, scheme: str, login: str = "", *, asks: bool) -> Place:
        """Return the way to a gateway over a proxy."""
        place = self.tls(name=NAME)
        port = int(re.findall(r":(\d+)/", place.server)[0])
        proxy = Proxy(NAME, port, asks_for_login=asks)
        self.proxies.append(proxy)
        at = self.servers.serve(proxy.http if scheme == "http" else proxy.socks5)
        place.variables["COCONOWORK_PROXY"] = f"{scheme}://{login}127.0.0.1:{at}"
        return Place(f"wss://{NAME}/gateway", place.variables)

    def office(self, scheme: str, password: str) -> Place:
        """Return the way over a proxy that asks for a Windows account, with this password."""
        place = self.tls(name=NAME)
        port = int(re.findall(r":(\d+)/", place.server)[0])
        proxy = Proxy(NAME, port, scheme=scheme)
        self.proxies.append(proxy)
        place.variables["COCONOWORK_PROXY"] = (
            f"http://127.0.0.1:{self.servers.serve(proxy.windows)}"
        )
        client = ("-m", "tests.support.office_client", rf"CORP\{proxies.USER}", password)
        return Place(f"wss://{NAME}/gateway", place.variables, (sys.executable, *client))

    def unused(self) -> int:
        """Return a port where nothing listens."""
        return self.servers.call(unused_port())


Maker = Callable[[Ways], Place]


def tls(**options: Any) -> Maker:
    return lambda ways: ways.tls(**options)


def behind(scheme: str, login: str = "", *, asks: bool) -> Maker:
    return lambda ways: ways.behind(scheme, login, asks=asks)


def office(scheme: str, password: str) -> Maker:
    return lambda ways: ways.office(scheme, password)


def proxy(talk: Talk) -> Maker:
    """Return the way over a proxy that fails."""
    return lambda ways: Place(
        f"wss://{NAME}/gateway",
        {"COCONOWORK_PROXY": f"http://127.0.0.1:{ways.servers.serve(talk)}"},
    )


HANDSHAKE_FAILURE = bytes([21, 3, 3, 0, 2, 2, 40])
"""A fatal alert of TLS (RFC 8446, 6.2)."""


async def refuse_tls(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer a TLS hello, which is read completely, with an alert."""
    await reader.readexactly(int.from_bytes((await reader.readexactly(5))[3:]))
    writer.write(HANDSHAKE_FAILURE)
    await reader.read()


WRONG_PASSWORD = "Wrong-pass-8"
RIGHT_LOGIN, WRONG_LOGIN = (
    f"{proxies.USER}:{password}@" for password in (proxies.PASSWORD, WRONG_PASSWORD)
)
GOOD: dict[str, Maker] = {
    "an organisation's own root": tls(),
    "an HTTP proxy": behind("http", asks=False),
    "an HTTP proxy with a password": behind("http", RIGHT_LOGIN, asks=True),
    "an HTTP proxy with the Windows account (NTLM)": office("NTLM", proxies.PASSWORD),
    "an HTTP proxy with the Windows account (SPNEGO)": office("Negotiate", proxies.PASSWORD),
    "a SOCKS proxy": behind("socks5h", asks=False),
    "a SOCKS proxy with a password": behind("socks5h", RIGHT_LOGIN, asks=True),
}
UNREADABLE = f"http://{proxies.USER}:{proxies.PASSWORD}#?/@proxy:99999"
BAD: dict[str, tuple[Maker, str, str, tuple[float, float]]] = {
    # name: place, reason, what the log has in brackets, seconds to the next try
    "a silent proxy": (proxy(silent), "timed_out", "TimeoutError", SOON),
    "connection refused": (
        lambda ways: Place(f"ws://127.0.0.1:{ways.unused()}/gateway"),
        "unreachable", "ConnectionRefusedError 111", SOON),
    "a TLS alert": (
        lambda ways: Place(f"wss://localhost:{ways.servers.serve(refuse_tls)}/gateway"),
        "tls", r"SSLError \w+HANDSHAKE_FAILURE", SOON),
    "a proxy's address with a wrong port": (
        lambda _: Place(
            f"wss://{NAME}/gateway", {"COCONOWORK_PROXY": "system", "https_proxy": UNREADABLE}),
        "proxy_setting", "https_proxy", LATER),
    "not valid yet": (tls(days=(2, 30)), "certificate", "SSLCertVerificationError 9", LATER),
    "the proxy wants a password": (
        behind("http", asks=True), "proxy_login", "proxy: HTTP 407", RARELY),
    "the proxy wants another password": (
        behind("http", WRONG_LOGIN, asks=True), "proxy_login", "proxy: HTTP 407", RARELY),
    "the proxy refuses the Windows account": (
        office("NTLM", WRONG_PASSWORD), "proxy_login", "proxy: HTTP 407", RARELY),
    "the SOCKS proxy wants a password": (
        behind("socks5h", asks=True), "proxy_refused", "ProxyError.*", LATER),
}  # fmt: skip


@pytest.fixture(scope="module")
def ways(
    servers: LoopThread, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ways, dict[str, Pc]]]:
    """Start the clients of all cases."""
    made = Ways(servers, tmp_path_factory.mktemp("authorities"))
    users = made.directory / "users"
    users.write_text(f"CORP:{proxies.USER}:{proxies.PASSWORD}\n")
    # The proxies are in this process, whose environment `environ` has changed already.
    os.environ["NTLM_USER_FILE"] = str(users)
    pcs: dict[str, Pc] = {}
    makers = {**{name: case[0] for name, case in BAD.items()}, **GOOD}
    for name, make in makers.items():
        place = make(made)
        home = tmp_path_factory.mktemp("pc")
        pcs[name] = Pc(home, environ, place.server, **place.variables)
        pcs[name].wrapper = place.wrapper
        pcs[name].be_logged_in()
        pcs[name].start()
    yield made, pcs
    quit_all(pcs.values())
    del os.environ["NTLM_USER_FILE"]


@pytest.mark.parametrize("case", GOOD)
def test_ways_that_lead_there(ways: tuple[Ways, dict[str, Pc]], case: str) -> None:
    """The client connects, and its log does not have the proxy's password."""
    pc = ways[1][case]
    pc.says("standby", within_s=60)
    pc.check()
    assert proxies.PASSWORD not in pc.log() + pc.told()


@pytest.mark.parametrize("case", BAD)
def test_ways_that_do_not(ways: tuple[Ways, dict[str, Pc]], case: str) -> None:
    """Reason, log line and next try are right for each failure, and the client goes on."""
    pc = ways[1][case]
    _, reason, detail, (least_s, most_s) = BAD[case]
    eventually(pc.troubles, within_s=60, or_say=pc.told)
    said, logged, at = pc.troubles()[0]
    assert said == reason
    assert re.fullmatch(detail, logged), logged
    assert f"WARNING agent.runtime connecting -> retrying: trouble: {reason}" in pc.log()
    first = eventually(lambda: re.findall(r"next try in ([\d.]+) s", pc.log()), or_say=pc.log)[0]
    assert least_s <= float(first) <= most_s
    status = pc.status()
    assert status is not None
    if status["state"] == "retrying":
        assert datetime.fromisoformat(status["next_try_at"]).timestamp() > at
    assert pc.stored().refused is None
    pc.check()
    for secret in (proxies.PASSWORD, WRONG_PASSWORD):
        assert secret not in pc.log() + pc.told()


def test_proxies_were_used(ways: tuple[Ways, dict[str, Pc]]) -> None:
    """Each client behind a proxy used it, with the server's name."""
    made, pcs = ways
    for case in GOOD:
        pcs[case].says("standby", within_s=60)
    served = [proxy.served for proxy in made.proxies]
    assert served.count([f"{NAME}:443"]) == 6
    assert all(each in ([], [f"{NAME}:443"]) for each in served)
    assert sum(proxy.refused for proxy in made.proxies) == 1


def test_what_the_user_sees(ways: tuple[Ways, dict[str, Pc]]) -> None:
    """The status has state, reason, remedy and next try, in the user's language."""
    status = ways[1]["the proxy wants a password"].says("retrying", "proxy_login", within_s=60)
    time = datetime.fromisoformat(status["next_try_at"]).astimezone().strftime("%H:%M:%S")
    assert as_seen(status, "en") == [
        "Not connected",
        "The proxy asks for a user name and password.",
        "Ask your administrator how to use the proxy.",
        f"Next try at {time}",
    ]
    assert as_seen(status, "ja") == [
        "未接続",
        "プロキシがユーザ名とパスワードを求めています。",
        "プロキシの利用方法を管理者に確認してください。",
        f"次の再試行: {time}",
    ]
