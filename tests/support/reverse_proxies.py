"""Run nginx, haproxy and Caddy in front of servers, as docs/operations.md sets them up."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trustme import KeyType

from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.installation import Installation
from tests.support.places import ROOT
from tests.support.polling import eventually
from tests.support.ports import free_port

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
PROXIES = ("nginx", "haproxy", "caddy")
SMALL = {"200000": "1000", "worker_connections 50000": "worker_connections 400"}
"""Limits of nginx that differ from the page's."""


def program(name: str) -> str:
    """Return the path of a program. Raise RuntimeError when it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{name} is missing: .ci/packages test")
    return found


def command(
    proxy: str,
    folder: Path,
    *,
    port: int,
    gateways: Sequence[int],
    consoles: Sequence[int],
    certificate: Path,
    limits: Mapping[str, str],
) -> list[str]:
    """Write the configuration. Return the command that starts a proxy on `port`.

    Only addresses, paths and the texts in `limits` differ from the page. `certificate` has the
    chain and its key.
    """
    [text] = re.findall(rf"^```{proxy}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    addresses = {
        f"10.0.0.2{machine}:{port_there}": f"127.0.0.1:{ports[machine - 1]}"
        for port_there, ports in ((8081, gateways), (8080, consoles))
        for machine in (1, 2)
    }
    if proxy == "nginx":
        places = "".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        own = {
            "listen 443": f"listen 127.0.0.1:{port}",
            "coconowork.example": "127.0.0.1",
            "/etc/coconowork/tls/fullchain.pem": str(certificate),
            "/etc/coconowork/tls/privkey.pem": str(certificate),
            "http {": "http { access_log off; " + places,
        }
    elif proxy == "caddy":
        own = {
            "https://coconowork.example": f"https://127.0.0.1:{port}, https://localhost:{port}",
            "/etc/coconowork/tls/fullchain.pem": str(certificate),
            "/etc/coconowork/tls/privkey.pem": str(certificate),
            "admin off": f"admin off\n storage file_system {folder}/caddy",
        }
    else:
        own = {
            "bind :443": f"bind 127.0.0.1:{port}",
            "/etc/coconowork/tls/haproxy.pem": str(certificate),
        }
    for old, new in {**addresses, **own, **limits}.items():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / f"{proxy}.conf"
    file.write_text(text)
    if proxy == "caddy":
        return [program(proxy), "run", "--adapter", "caddyfile", "--config", str(file)]
    if proxy == "haproxy":
        return [program(proxy), "-db", "-f", str(file)]
    options = f"daemon off; pid {folder}/pid; error_log stderr;"
    return [program(proxy), "-e", "stderr", "-c", str(file), "-g", options]


@contextmanager
def running_proxy(proxy: str, folder: Path, *, port: int, **options: Any) -> Iterator[Path]:
    """Run a proxy until the end of the context; see `command`. Yield its output file."""
    log = folder / f"{proxy}.log"
    with log.open("wb") as output:
        arguments = command(proxy, folder, port=port, **options)
        process = subprocess.Popen(arguments, stdout=output, stderr=output)

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(listens)
        yield log
    finally:
        process.terminate()
        process.wait(timeout=30)


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
