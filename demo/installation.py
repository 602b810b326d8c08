"""Run a server and a client on this machine, for the demonstration and the guided tour.

The server runs in this process, so that its clock can be moved. The client is the real program in
a process of its own, with a temporary profile and, on Linux, a temporary keyring.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from agent.core.password_warnings import PUSH_S
from agent.desktop import open_channel
from agent.paths import Paths, find_paths
from agent.ports import ChannelError
from protocol.messages import PATH
from server.commands.serve import console, listen, prepare
from server.config import Config
from server.supervised import supervised

START_S = 30.0


class StageError(Exception):
    """Raised when a part does not start or reacts too late; the text says which."""


@dataclass(frozen=True)
class Sample:
    """A user or administrator of the demonstration."""

    username: str
    display_name: str
    password: str


def sample_password() -> str:
    """Return a random password that keeps the rules. For the demonstration only: it is printed."""
    body = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
    return f"{body}-{secrets.randbelow(900) + 100}A"


class Client:
    """The client program on its own PC, with its profile in the folder `home`."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.wrapper: Sequence[str] = ()
        """Words to put before the command that runs the client, such as `setpriv …`."""
        self.environ = {**environ, "COCONOWORK_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        """The environment of the client's processes."""
        self.paths: Paths = find_paths(self.environ)
        self.output: list[str] = []
        """The lines that the client has written."""
        self.on_line: Callable[[str], object] | None = None
        """Called on a thread with each line that the client writes."""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def command(self, *arguments: str, answer: str | None = None) -> tuple[int, str]:
        """Run one command of the client with the input `answer`; return exit code and output."""
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "agent", *arguments],
            input="" if answer is None else answer + "\n",
            env=self.environ,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        self.output.append(done.stdout + done.stderr)
        return done.returncode, done.stdout + done.stderr

    def log_in_at(self, gateway: str, user: Sample) -> None:
        """Log in with the user's password and store the password. Raise StageError."""
        command = ("login", "--server", gateway, "--user", user.username)
        code, said = self.command(*command, answer=user.password)
        if code != 0:
            raise StageError(f"the client could not log in: {said}")

    def start(self, *, session: str | None = None) -> None:
        """Start the client as a sign-in does. On Linux, `session` names the desktop session."""
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*self.wrapper, sys.executable, "-m", "agent", "run", "--autostart"],
            env=self.environ if session is None else {**self.environ, "XDG_SESSION_ID": session},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C must not reach the client
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in process.stdout:
            self.output.append(line.rstrip("\n"))
            if self.on_line is not None:
                self.on_line(self.output[-1])

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def status(self) -> dict[str, Any] | None:
        """Return the status that the client reports; None when it does not run."""
        try:
            channel = open_channel(self.paths)
            answer = asyncio.run(channel.ask({"command": "status"}, timeout_s=10))
        except ChannelError:
            return None
        status: dict[str, Any] = answer["status"]
        return status

    def wait_for(self, *states: str) -> dict[str, Any]:
        """Wait for one of `states`, and return the status. Raise StageError after `START_S`."""
        end = monotonic() + START_S
        while monotonic() < end:
            status = self.status()
            if status is not None and status["state"] in states:
                return status
            sleep(0.1)
        raise StageError(f"the client did not become {' or '.join(states)}: {self.status()}")

    def wait_until_calm(self) -> None:
        """Wait until a login has ended and a warning would have been shown. Raise StageError."""
        self.wait_for("standby", "standby_old_password", "needs_password")
        sleep(PUSH_S + 0.5)

    def notifications(self, start: int) -> list[str]:
        """Return the notifications among the output lines from number `start` on."""
        return [line for line in self.output[start:] if line.startswith("[")]

    def stop(self) -> None:
        """Make the client quit, as its menu does; do nothing when it does not run."""
        if self._process is not None and self.running:
            self.command("quit")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=20)
        self.kill()

    def kill(self) -> None:
        """Kill the client, as a power cut does, if it runs."""
        if self._process is not None and self._process.stdout is not None:
            self._process.kill()
            self._process.wait()
            if self._reader is not None:
                self._reader.join(timeout=5)
            self._process.stdout.close()
            self._process = None


@contextmanager
def running_server(
    directory: Path, *, port: int = 0, gateway_port: int = 0
) -> Iterator[tuple[str, str]]:
    """Serve console and gateway on loopback in this process, with the database in `directory`.

    Yield the addresses of console and gateway.
    """
    settings = Config(data_dir=directory, gateway_port=gateway_port, log_level="warning")
    listener = listen(settings.host, port, option="--port")
    settings = replace(settings, port=listener.getsockname()[1])
    prepare(settings)
    with console(listener, settings), _gateway_thread(settings) as found:
        yield settings.console_url, f"ws://{settings.host}:{found}{PATH}"


@contextmanager
def _gateway_thread(settings: Config) -> Iterator[int]:
    """Run imports and a gateway, which sweeps every second, on a thread; yield its port."""
    from server.console import importing
    from server.gateway.server import Gateway

    running: Future[tuple[int, Callable[[], object]]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        end = partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)
        async with (
            Gateway(settings, sweep_interval_s=1) as gateway,
            supervised("imports", importing.work_for_ever),
        ):
            running.set_result((gateway.port, end))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as exc:  # noqa: BLE001 - the main thread raises it
            running.set_exception(exc)

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    port, end = running.result(START_S)
    try:
        yield port
    finally:
        end()
        thread.join()


@contextmanager
def client_pc(directory: Path, name: str = "pc") -> Iterator[Client]:
    """Yield a client that does not run yet, with profile and keyring in `directory`.

    The client uses the console's time zone, which Django has put into the environment.
    """
    with ExitStack() as stack:
        client = Client(directory / name, dict(os.environ))
        if sys.platform == "linux":
            from demo.private_keyring import ENDS_WITH_US, private_keyring

            keyring = stack.enter_context(private_keyring(directory / f"{name}-keyring"))
            client.environ.update(keyring)
            client.wrapper = ENDS_WITH_US
        try:
            yield client
        finally:
            client.stop()
            if sys.platform != "linux":
                client.command("logout")  # the user's own keyring is left as it was


def seed() -> tuple[Sample, Sample]:
    """Make an account with a user and an administrator. The server must be running."""
    from server.console import passwords
    from server.console.models import Account, User

    account = Account.objects.create(name="ココナ商事")
    made = (
        Sample("tanaka", "田中 花子", sample_password()),
        Sample("kanri", "管理 太郎", sample_password()),
    )
    for sample, role in zip(made, (User.Role.GENERAL, User.Role.ADMINISTRATOR), strict=True):
        user = User(
            account=account, username=sample.username, display_name=sample.display_name, role=role
        )
        passwords.set_initial(user, sample.password, must_change=False)
        user.save()
    return made
