"""The other end for the Windows program: a real server with TLS, and people at its pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.__main__ import sample_password
from demo.tour.person import Person

ADMINISTRATOR = "kanri"
_EXTENSIONS = """
[server]
subjectAltName=DNS:localhost,IP:127.0.0.1
extendedKeyUsage=serverAuth
"""


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
    """`python -m server serve` with a certificate, its data in `directory`."""

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
        environment = {
            **os.environ,
            "COCONOWORK_SERVER_DATA_DIR": str(self.directory / "data"),
            "COCONOWORK_SERVER_TLS_CERT": str(self.directory / "server.pem"),
            "COCONOWORK_SERVER_TLS_KEY": str(self.directory / "server.key"),
        }
        command = [sys.executable, "-m", "server"]
        subprocess.run(
            [*command, "createadmin", "--account", "ココナ商事", "--user", ADMINISTRATOR],
            input=f"{self.administrator_password}\n" * 2,
            env=environment,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with (self.directory / "server.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "serve", "--port", "0", "--gateway-port", "0"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        try:
            said = "".join(process.stdout.readline() for _ in range(2))
            found = re.findall(r"(https|wss)://\S+?:(\d+)", said)
            assert [scheme for scheme, _ in found] == ["https", "wss"], said
            self.console = f"https://localhost:{found[0][1]}"
            self.gateway = f"localhost:{found[1][1]}"
            yield self
        finally:
            process.terminate()
            process.wait(timeout=30)
            process.stdout.close()

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
