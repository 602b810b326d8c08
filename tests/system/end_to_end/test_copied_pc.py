"""A virtual machine that was copied together with its identifier."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from agent.desktop import open_vault
from demo.private_keyring import PrivateKeyring
from tests.support.installation import P1, P2, Server
from tests.support.pc import Pc
from tests.support.polling import eventually

pytestmark = pytest.mark.keyring
USER = "copied"


def test_two_clients_with_one_key_become_two_pcs(
    server: Server,
    environ: dict[str, str],
    new_pc: Callable[..., Pc],
    keyring: PrivateKeyring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They displace each other until one makes a key of its own; then both get a push."""
    server.installation.add_user(USER)
    first = new_pc(server.address, user=USER, password=P1, **keyring.environment)
    credentials = first.stored()
    for name in keyring.environment:
        monkeypatch.setenv(name, environ[name])
    second = new_pc(server.address, user=USER, password=P1)
    open_vault().write(second.identity, credentials)
    first.start()
    first.says("standby")
    second.start()
    waits, displaced = second, first
    for _ in range(5):
        waits.says("standby")
        displaced.says("retrying", "superseded")
        displaced.tell("reconnect")
        waits, displaced = displaced, waits
    for pc in (first, second):
        pc.says("standby")
    with server.browser(USER, P1) as browser:
        assert browser.open("/").text.count(">Waiting<") == 2
        result = urlsplit(browser.change_password(P1, P2).url).path
        eventually(lambda: browser.open(result).text.count("Applied") == 2)
    second.has_only(P2)
    assert second.stored().device_key == credentials.device_key
    for name, value in keyring.environment.items():
        monkeypatch.setenv(name, value)
    first.has_only(P2)
    assert first.stored().device_key != credentials.device_key
