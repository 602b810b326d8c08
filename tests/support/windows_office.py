"""The other end for the Windows program: a real server behind nginx, and people at its pages."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.__main__ import sample_password
from demo.tour.person import Person
from tests.support.reverse_proxies import command

ADMINISTRATOR = "kanri"
_EXTENSIONS = """
[server]
subjectAltName=DNS:localhost,IP:127.0.0.1
extendedKeyUsage=serverAuth
"""


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def make_certificates(folder: Path) -> None:
    """An organisation's own root (`ca.pem`, `ca.der`) and a certificate for localhost."""
    (folder / "extensions").write_text(_EXTENSIONS)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes", "-days", "30"]
    root = ["-subj", "/CN=Test organisation", "-keyout", "ca.key", "-out", "ca.pem"]
    openssl("req", "-x509", *key, *root, "-addext", "keyUsage=critical,keyCertSign")
    openssl("x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30",
            "-CAcreateserial", "-extfile", "extensions", "-extensions", "server",
            "-out", "server.pem")  # fmt: skip


@dataclass
class Office:
    """`python -m server serve` behind nginx with a certificate, its data in `directory`."""

    directory: Path
    administrator_password: str = field(default_factory=sample_password)
    console: str = ""
    gateway: str = ""

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @contextmanager
    def open(self) -> Iterator[Office]:
        """Serve until the end of the block."""
        make_certificates(self.directory)
        port, console, gateway = free_ports(3)
        environment = {
            **os.environ,
            "COCONOWORK_SERVER_DATA_DIR": str(self.directory / "data"),
            "COCONOWORK_SERVER_PUBLIC_URL": f"https://localhost:{port}",
            "COCONOWORK_SERVER_TRUSTED_PROXIES": "127.0.0.1",
        }
        server = [sys.executable, "-m", "server"]
        subprocess.run(
            [*server, "createadmin", "--account", "ココナ商事", "--user", ADMINISTRATOR],
            input=f"{self.administrator_password}\n" * 2,
            env=environment,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with (self.directory / "server.log").open("w") as log:
            process = subprocess.Popen(
                [*server, "serve", "--port", str(console), "--gateway-port", str(gateway)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        try:
            said = "".join(process.stdout.readline() for _ in range(2))
            assert said.split() == [
                "console",
                f"https://localhost:{port}/",
                "gateway",
                said.split()[-1],
            ]
            self.console = f"https://localhost:{port}"
            self.gateway = f"localhost:{port}"
            with self._proxy(port, console, gateway):
                yield self
        finally:
            process.terminate()
            process.wait(timeout=30)
            process.stdout.close()

    @contextmanager
    def _proxy(self, port: int, console: int, gateway: int) -> Iterator[None]:
        """End TLS on `port` until the end of the block."""
        certificate = self.directory / "chain.pem"
        chain = (self.directory / name for name in ("server.pem", "server.key"))
        certificate.write_text("".join(each.read_text() for each in chain))
        limits = {"200000": "1000", "worker_connections 50000": "worker_connections 400"}
        arguments = command(
            "nginx",
            self.directory,
            port=port,
            gateways=[gateway] * 2,
            consoles=[console] * 2,
            certificate=certificate,
            limits=limits,
        )
        with (self.directory / "nginx.log").open("w") as log:
            process = subprocess.Popen(arguments, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    @contextmanager
    def person(self, username: str, password: str) -> Iterator[Person]:
        """Somebody who has logged in at the management console."""
        someone = Person(self.console)
        someone._browser.session.verify = str(self.ca)
        try:
            assert someone.log_in("/login/", username, password)
            yield someone
        finally:
            someone.close()

    def new_user(self, username: str) -> str:
        """A general user made at the pages, temporary password changed; the password."""
        with self.person(ADMINISTRATOR, self.administrator_password) as admin:
            admin.open("/users/new/")
            admin.fill("ユーザ名", username)
            admin.press("作成")
            temporary = admin.definition("仮パスワード")
        password = sample_password()
        with self.person(username, temporary) as user:
            user.fill("新しいパスワード", password)
            user.fill("新しいパスワード(確認)", password)
            user.press("変更")
            assert "パスワードが変更されました。" in user.text()
        return password

    def change_password(self, username: str, current: str, *, push: bool) -> str:
        """Steps 1 to 4 of the manual; the new password."""
        new = sample_password()
        with self.person(username, current) as user:
            user.follow("パスワード変更")
            assert user.switch_state("「coconowork client」に") == (True, True)
            user.switch("「coconowork client」に", on=push)
            user.fill("現在のパスワード", current)
            user.fill("新しいパスワード", new)
            user.fill("新しいパスワード(確認)", new)
            user.press("変更")
            assert "パスワードが変更されました。" in user.text()
        return new
