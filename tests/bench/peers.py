"""What the gateway is compared with, and what may stand before it: mosquitto and haproxy."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import machine, people, stage

START_SECONDS = 30


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{name} is missing: .ci/packages test")
    return found


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
    subprocess.run([_program("mosquitto_passwd"), "-U", str(passwords)], check=True)
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
    with _running([_program("mosquitto"), "-c", str(settings)], port) as process:
        yield process.pid, port


@contextmanager
def haproxy(backend: int, *, connections: int) -> Iterator[tuple[int, int]]:
    """Its process and port: it ends TLS before the gateway on the port `backend`."""
    home = Path(tempfile.mkdtemp(dir=stage.folder()))
    port = free_port()
    settings = home / "haproxy.cfg"
    settings.write_text(
        f"""
global
    nbthread 1
    maxconn {connections + 100}
defaults
    mode http
    option forwardfor
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 120s
frontend public
    bind 127.0.0.1:{port} ssl crt {stage.certificate()}
    default_backend gateway
backend gateway
    server gateway 127.0.0.1:{backend}
"""
    )
    with _running([_program("haproxy"), "-db", "-f", str(settings)], port) as process:
        yield process.pid, port
