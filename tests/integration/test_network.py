"""The way to the server: cables that are pulled, servers that restart, and real certificates."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from server.stage import Client
from tests.integration.conftest import ADMINISTRATOR, Server

pytestmark = pytest.mark.keyring


class Cable:
    """A TCP relay on loopback to `target`: `pull` makes it silent, as a pulled cable is."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._pulled = asyncio.Event()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self.port = 0
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    def pull(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._loop.call_soon_threadsafe(self._pulled.set)

    def __enter__(self) -> Cable:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far_writer))
                group.create_task(self._pass_on(far_reader, writer))
        finally:
            far_writer.close()
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                if self._pulled.is_set():
                    continue
                writer.write(data)
                await writer.drain()


def login(client: Client, address: str, password: str) -> None:
    code, said = client.command(
        "login", "--server", address, "--user", ADMINISTRATOR, answer=password
    )
    assert code == 0, said


@pytest.mark.timeout(180)
def test_a_pulled_cable_is_noticed(client: Client, server: Server) -> None:
    """Within 40 s, though the connection is never closed; the reason is that nothing answers."""
    target = urlsplit(server.gateway).port
    assert target is not None
    with Cable(target) as cable:
        login(client, f"ws://127.0.0.1:{cable.port}", server.administrator_password)
        client.start()
        client.wait_for("standby")
        cable.pull()
        start = time.monotonic()
        status = client.wait_for("waiting", within_s=60)
        assert time.monotonic() - start < 40
        assert status["reason"] == "timed_out"
        assert status["next_try_at"] is not None


@pytest.mark.timeout(180)
def test_a_server_that_restarts(client: Client, tmp_path: Path) -> None:
    """A clean stop says so; a killed server is a lost connection; the client comes back."""
    own = Server(tmp_path / "data")
    own.create_administrator()
    own.start()
    login(client, own.gateway, own.administrator_password)
    client.start()
    client.wait_for("standby")
    for how, reason in ((signal.SIGTERM, "shutting_down"), (signal.SIGKILL, "connection_lost")):
        own.stop(how)
        status = client.wait_for("waiting")
        assert status["reason"] in {reason, "unreachable"}
        own.start()
        client.wait_for("standby", within_s=60)
    assert own.stop() == 0


@contextmanager
def tls_server(directory: Path, name: str) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate for `name` by an organisation's own authority; its root."""
    directory.mkdir()
    subprocess.run(["sh", "-euc", MAKE_CERTIFICATES, "sh", name], cwd=directory, check=True)
    running = Server(directory / "data")
    running.create_administrator()
    running.start("--tls-cert", str(directory / "srv.pem"), "--tls-key", str(directory / "srv.key"))
    try:
        yield running, directory / "ca.pem"
    finally:
        running.stop()


MAKE_CERTIFICATES = """
exec 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key \
    -out ca.pem -subj "/CN=Tests' own authority" -addext keyUsage=critical,keyCertSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout srv.key -out srv.csr \
    -subj "/CN=$1"
printf 'subjectAltName=DNS:%s\\nextendedKeyUsage=serverAuth\\n' "$1" > srv.ext
openssl x509 -req -in srv.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
    -extfile srv.ext -out srv.pem
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("localhost", True, None),
        ("localhost", False, "certificate is not trusted"),
        ("other.example", True, "certificate is not trusted"),
    ],
)
def test_certificates(
    tmp_path: Path,
    keyring_environment: dict[str, str],
    name: str,
    trusted: bool,
    reason: str | None,
) -> None:
    """An organisation's own root in the system's store is trusted; without it, or for another
    name, the client says what is the matter and stores nothing."""
    with tls_server(tmp_path / "srv", name) as (server, root):
        environ = {**os.environ, **keyring_environment}
        if trusted:
            environ["SSL_CERT_FILE"] = str(root)  # where OpenSSL looks for the system's store
        client = Client(tmp_path / "pc", environ)
        port = urlsplit(server.gateway).port
        code, said = client.command(
            "login", "--server", f"wss://localhost:{port}", "--user", ADMINISTRATOR,
            answer=server.administrator_password,
        )  # fmt: skip
        assert code == (0 if reason is None else 1), said
        if reason is not None:
            assert reason in said
            assert not client.paths.config_file.exists()
