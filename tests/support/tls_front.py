"""nginx in front of a server process, with the configuration of docs/operations.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trustme import KeyType

from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.installation import Installation
from tests.support.ports import free_port
from tests.support.reverse_proxies import running_proxy

SMALL = {"200000": "1000", "worker_connections 50000": "worker_connections 400"}
"""Limits of nginx that differ from the page's."""


@dataclass(frozen=True)
class Organisation:
    """An installation behind TLS, with a certificate of the organisation's own authority."""

    installation: Installation
    authority: Authority
    host: str

    @property
    def console(self) -> str:
        """Return the address of the console."""
        return f"https://{self.host}"

    def browser(self, username: str, password: str) -> Browser:
        """Return a browser in which this user has logged in."""
        opened = Browser(self.console, authority=self.authority.file)
        assert opened.log_in(username, password)
        return opened


@contextmanager
def organisation(folder: Path) -> Iterator[Organisation]:
    """Run an organisation's server in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    host = f"localhost:{port}"
    authority = Authority(folder / "tls", key_type=KeyType.RSA)
    installation = Installation(folder / "data")
    installation.create()
    settings = {"PUBLIC_URL": f"https://{host}", "TRUSTED_PROXIES": "127.0.0.1"}
    with (
        installation.serving(**settings) as server,
        running_proxy(
            "nginx",
            folder,
            port=port,
            gateways=[server.gateway] * 2,
            consoles=[server.console_port] * 2,
            certificate=authority.issue("localhost"),
            limits=SMALL,
        ),
    ):
        yield Organisation(installation, authority, host)
