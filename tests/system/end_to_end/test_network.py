"""The way to the server: cables that are pulled, servers that restart, and real certificates."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.installation import Client
from tests.support.loop_stage import Stage
from tests.support.wire import Weather, Wire
from tests.system.end_to_end.conftest import ADMINISTRATOR, Server
from tests.system.end_to_end.test_killed_client import Changer, assert_whole

pytestmark = pytest.mark.keyring


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """The way to the server."""
    with Stage() as stage:
        yield Wire(stage, urlsplit(server.gateway).port or 0)


def login(client: Client, address: str, password: str) -> None:
    code, said = client.command(
        "login", "--server", address, "--user", ADMINISTRATOR, answer=password
    )
    assert code == 0, said


@pytest.mark.timeout(180)
def test_a_pulled_cable_is_noticed(client: Client, server: Server, wire: Wire) -> None:
    """Within 40 s, though the connection is never closed; the reason is that nothing answers."""
    login(client, wire.address, server.administrator_password)
    client.start()
    client.wait_for("standby")
    wire.pull()
    start = time.monotonic()
    status = client.wait_for("retrying", within_s=60)
    assert time.monotonic() - start < 40
    assert status["reason"] == "timed_out"
    assert status["next_try_at"] is not None
    wire.plug_in()
    client.wait_for("standby", within_s=60)


@pytest.mark.timeout(180)
def test_a_push_in_bad_weather(client: Client, server: Server, wire: Wire) -> None:
    """5 % of all segments lost and 500 ms one way: the new password arrives and is proven."""
    password = server.new_user("weather")
    code, said = client.command(
        "login", "--server", wire.address, "--user", "weather", answer=password
    )
    assert code == 0, said
    wire.weather = Weather(delay_s=0.5, loss=0.05)
    client.start()
    client.wait_for("standby", within_s=60)
    changer = Changer(server, "weather", password)
    assert "反映済み" in changer.change()
    assert_whole(client, wire.address, "weather", changer.password)


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
        status = client.wait_for("retrying")
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
