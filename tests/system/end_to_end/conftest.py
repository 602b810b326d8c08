"""A real server in a process of its own, people at its pages, and client processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demo.__main__ import sample_password
from demo.installation import Client
from demo.tour.person import Person

ADMINISTRATOR = "kanri"


@dataclass
class Server:
    """`python -m server serve` on free ports, its data in `directory`."""

    directory: Path
    administrator_password: str = field(default_factory=sample_password)
    console: str = ""
    gateway: str = ""
    output: Path = field(init=False)
    _process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.output = self.directory.with_suffix(".log")
        self._environ = {**os.environ, "COCONOWORK_SERVER_DATA_DIR": str(self.directory)}

    def create_administrator(self) -> None:
        """The account and its first administrator, by the command line."""
        subprocess.run(
            [sys.executable, "-m", "server", "createadmin", "--account", "ココナ商事"]
            + ["--user", ADMINISTRATOR],
            input=f"{self.administrator_password}\n" * 2,
            env=self._environ,
            text=True,
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
        )

    def start(self, *options: str) -> None:
        """Return once it serves; at a second start on the same ports."""
        ports = [re.search(r":(\d+)", address) for address in (self.console, self.gateway)]
        console, gateway = (match[1] if match else "0" for match in ports)
        with self.output.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve"]
                + ["--port", console, "--gateway-port", gateway, *options],
                env=self._environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        said = [self._process.stdout.readline().split() for _ in range(2)]
        assert [line[:1] for line in said] == [["console"], ["gateway"]], self.output.read_text()
        self.console, self.gateway = said[0][1].rstrip("/"), said[1][1]

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End it; the exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal_number)
        self._process.wait(timeout=30)
        self._process.stdout.close()
        return self._process.returncode

    def new_user(self, username: str) -> str:
        """A general user made at the pages, temporary password changed; the password."""
        with person(self.console) as admin:
            assert admin.log_in("/login/", ADMINISTRATOR, self.administrator_password)
            admin.open("/users/new/")
            admin.fill("ユーザ名", username)
            admin.press("作成")
            temporary = admin.definition("仮パスワード")
        with person(self.console) as user:
            assert user.log_in("/login/", username, temporary)
            password = sample_password()
            user.fill("新しいパスワード", password)
            user.fill("新しいパスワード(確認)", password)
            user.press("変更")
            assert "パスワードが変更されました。" in user.text()
        return password


@contextmanager
def person(console: str) -> Iterator[Person]:
    """Somebody at a browser."""
    someone = Person(console)
    try:
        yield someone
    finally:
        someone.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests: each makes users of its own."""
    running = Server(tmp_path_factory.mktemp("server") / "data")
    running.create_administrator()
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(tmp_path: Path, keyring_environment: dict[str, str]) -> Iterator[Client]:
    """A client with a profile of its own, not running yet."""
    environ = {**os.environ, **keyring_environment, "COCONOWORK_LOG_LEVEL": "debug"}
    environ.pop("DISPLAY", None)
    one = Client(tmp_path / "pc", environ)
    yield one
    one.stop()
