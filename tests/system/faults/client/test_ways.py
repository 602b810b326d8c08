"""Proxies that connect or refuse: the client's status, log and next try.

The clients are real processes. `tests/unit/agent/core` and `tests/unit/agent/test_connection.py`
have all kinds of proxies and failures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.fake_gateway import FakeGateway
from tests.support.forward_proxies import PASSWORD, USER, Proxy
from tests.support.loop_thread import LoopThread
from tests.support.pc import Pc, as_seen

pytestmark = pytest.mark.keyring

NAME = "gateway.test"
"""The name of a server that only a proxy knows."""
WRONG_PASSWORD = "Wrong-pass-8"


@pytest.fixture
def gateway(servers: LoopThread, tmp_path: Path) -> tuple[int, str]:
    """Return the port of a gateway, and the certificate file of the authority to trust."""
    authority = Authority(tmp_path / "authority")
    made = FakeGateway()
    servers.host(made.running(tls=authority.context(NAME)))
    return made.port, str(authority.file)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_with_a_password(
    servers: LoopThread, new_pc: Callable[..., Pc], gateway: tuple[int, str], scheme: str
) -> None:
    """The proxy gets the server's name, and the log does not have the proxy's password."""
    proxy = Proxy(NAME, gateway[0], asks_for_login=True)
    port = servers.serve(proxy.http if scheme == "http" else proxy.socks5)
    address = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}"
    pc = new_pc(f"wss://{NAME}/gateway", COCONOWORK_PROXY=address, SSL_CERT_FILE=gateway[1])
    pc.start()
    pc.says("standby")
    pc.check()
    assert proxy.served == [f"{NAME}:443"]
    assert PASSWORD not in pc.log() + pc.told()


def test_a_proxy_that_refuses_the_password(
    servers: LoopThread, new_pc: Callable[..., Pc], gateway: tuple[int, str]
) -> None:
    """The status has, in each language, state, reason, remedy, and the next try's late time."""
    proxy = Proxy(NAME, gateway[0], asks_for_login=True)
    address = f"http://{USER}:{WRONG_PASSWORD}@127.0.0.1:{servers.serve(proxy.http)}"
    pc = new_pc(f"wss://{NAME}/gateway", COCONOWORK_PROXY=address, SSL_CERT_FILE=gateway[1])
    pc.start()
    status = pc.says("retrying", "proxy_login")
    assert pc.troubles()[0][:2] == ("proxy_login", "proxy: HTTP 407")
    assert "WARNING agent.runtime connecting -> retrying: trouble: proxy_login" in pc.log()
    [seconds] = re.findall(r"next try in ([\d.]+) s", pc.log())
    assert 300 <= float(seconds) <= 360
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
    assert pc.stored().refused is None
    pc.check()
    assert WRONG_PASSWORD not in pc.log() + pc.told()
