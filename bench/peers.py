"""What the gateway is compared with, and what may stand before it: mosquitto and the proxies."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path

from bench import machine, people, stage
from tests.support import reverse_proxies as proxies

START_SECONDS = 30
STOP_SECONDS = 10


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """On the server's core, once it listens."""
    with (stage.folder() / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            preexec_fn=machine.pinned(machine.SERVER_CORE),  # noqa: PLW1509 - one thread
        )
    try:
        _wait_for(port)
        yield process
    finally:
        process.terminate()  # nginx takes its worker along
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def mosquitto(users: range, *, tls: bool) -> Iterator[tuple[int, int]]:
    """Its process and port. It knows these users, and checks their passwords."""
    home = Path(tempfile.mkdtemp(dir=stage.folder()))
    port = free_port()
    passwords, settings = home / "passwords", home / "mosquitto.conf"
    passwords.write_text(
        "".join(f"{people.username(number)}:{people.PASSWORD}\n" for number in users)
    )
    subprocess.run([proxies.program("mosquitto_passwd"), "-U", str(passwords)], check=True)
    lines = [
        f"listener {port} 127.0.0.1",
        "max_connections -1",
        "allow_anonymous false",
        f"password_file {passwords}",
        "persistence false",
        "log_type warning",
        "user root",  # else it gives up the right to read its files; as nobody it changes nothing
    ]
    if tls:
        lines += [f"certfile {stage.certificate()}", f"keyfile {stage.certificate()}"]
    settings.write_text("\n".join(lines) + "\n")
    with _running([proxies.program("mosquitto"), "-c", str(settings)], port) as process:
        yield process.pid, port


@contextmanager
def proxy(name: str, gateway: int, *, connections: int) -> Iterator[tuple[list[int], int]]:
    """Its processes and port: it ends TLS before the gateway on that port, as operations.md has it.

    It shares the server's core, and so needs one process or thread for its work.
    """
    home = Path(tempfile.mkdtemp(dir=stage.folder()))
    port = free_port()
    limits = {
        "nginx": {
            "worker_processes auto": "worker_processes 1",
            "200000": str(2 * connections + 200),
        },
        "haproxy": {"maxconn 100000": f"maxconn {connections + 100}"},
    }
    command = proxies.command(
        name,
        home,
        port=port,
        gateways=[gateway, gateway],
        consoles=[gateway, gateway],  # nobody asks for pages
        certificate=stage.certificate(),
        limits=limits[name],
    )
    with _running(command, port) as process:
        _wait_for_worker(port)
        yield machine.family(process.pid), port


def _wait_for_worker(port: int) -> None:
    """A master listens before it has somebody to answer."""
    trusting = ssl.create_default_context(cafile=stage.certificate())
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=START_SECONDS, context=trusting
    )
    with closing(connection):
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"the proxy answers {answer.status} {answer.reason}")
