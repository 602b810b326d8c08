"""`python -m server`, as a process of its own."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import os
import re
import selectors
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocol import messages
from tests.support.gateway_client import Client

PASSWORD = "Adm1n-Adm1n"
START_S = 40


def environment(data_dir: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "COCONOWORK_SERVER_DATA_DIR": str(data_dir), "LC_ALL": "C.UTF-8"}


def run(data_dir: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        env=environment(data_dir),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class Running:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)

    def port(self, what: str) -> int:
        [found] = re.findall(rf"^{what} .*:(\d+)/", "".join(self.output), re.MULTILINE)
        return int(found)


@contextmanager
def serving(data_dir: Path, *arguments: str) -> Iterator[Running]:
    """Start `serve` on free ports and wait until it says where."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-Werror",
            "-m",
            "server",
            "serve",
            "--port=0",
            "--gateway-port=0",
            *arguments,
        ],
        env=environment(data_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    running = Running(process)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            running.output.append(line)
            if line.startswith("gateway "):
                break
        assert running.output, process.wait()
        yield running
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an account and its administrator."""
    folder = tmp_path_factory.mktemp("server") / "data"
    made = run(folder, "createadmin", "--account=ACME", "--user=admin", stdin=PASSWORD + "\n")
    assert (made.returncode, made.stderr) == (0, "")
    return folder


async def test_serve(data_dir: Path) -> None:
    """Console and gateway answer; the administrator's client logs in; SIGTERM ends it with 0."""
    with serving(data_dir) as server:
        assert server.output == [
            f"console  http://127.0.0.1:{server.port('console')}/\n",
            f"gateway  ws://127.0.0.1:{server.port('gateway')}/gateway\n",
        ]
        with closing(http.client.HTTPConnection("127.0.0.1", server.port("console"))) as console:
            console.request("GET", "/login/")
            response = console.getresponse()
            page = response.read().decode()
            assert response.status == 200
            [style] = re.findall(r'href="(/static/[^"]+\.css)"', page)
            console.request("GET", style)
            response = console.getresponse()
            content = response.read()
            assert (response.status, response.getheader("Content-Type")) == (
                200,
                'text/css; charset="utf-8"',
            )
            assert len(content) == int(response.getheader("Content-Length", "0")) > 0
        async with Client(server.port("gateway")) as client:
            welcome = await client.log_in("admin", PASSWORD)
            assert welcome.console_url == f"http://127.0.0.1:{server.port('console')}"
            server.process.send_signal(signal.SIGTERM)
            assert (await client.expect(messages.Bye)).reason == "shutting_down"
            assert await client.closed() == 1001
        assert server.process.wait(timeout=20) == 0


def test_interrupt(data_dir: Path) -> None:
    """Ctrl-C is a clean end, too."""
    with serving(data_dir) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=20) == 0


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_files_are_private(data_dir: Path) -> None:
    """Database and secret key are readable by their owner only."""
    for path in (data_dir / "coconowork.sqlite3", data_dir / "secret_key"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_password_is_stored_as_a_verifier(data_dir: Path) -> None:
    """The password that came by standard input is nowhere in the folder."""
    for path in data_dir.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()
    with closing(sqlite3.connect(data_dir / "coconowork.sqlite3")) as database:
        [(encoded, role)] = database.execute("SELECT password, role FROM console_user").fetchall()
    assert encoded.startswith("scram_sha256$600000$")
    assert role == "administrator"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("--account=ACME", "--user=admin"), PASSWORD, "already exists"),
        (("--account=ACME", "--user=other"), "", "standard input"),
        (("--account=ACME", "--user=other"), "short", "at least 8|8 to 64"),
        (("--account= ", "--user=other"), PASSWORD, "blank"),
    ],
)
def test_createadmin_refuses(
    data_dir: Path, arguments: tuple[str, ...], stdin: str, said: str
) -> None:
    """What cannot be is said in a sentence, and nothing is made."""
    done = run(data_dir, "createadmin", *arguments, stdin=stdin)
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    with closing(sqlite3.connect(data_dir / "coconowork.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM console_user").fetchone() == (1,)


def test_createadmin_asks_at_a_terminal(tmp_path: Path) -> None:
    """Twice, without echo; two different answers make nothing."""
    pty = pytest.importorskip("pty", reason="a terminal to type at is POSIX's")
    for second, code in ((PASSWORD, 0), ("Different-1", 1)):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "createadmin", "--account=A", f"--user=u{code}"],
            env=environment(tmp_path),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        shown = _converse(master, [(b"Password: ", PASSWORD), (b"again: ", second)])
        assert process.wait(timeout=30) == code
        os.close(master)
        assert PASSWORD.encode() not in shown
        assert second.encode() not in shown


def _converse(master: int, script: list[tuple[bytes, str]]) -> bytes:
    """Type each answer once its prompt is there; everything that the terminal showed."""
    shown = b""
    deadline = time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(master, selectors.EVENT_READ)
        while selector.select(timeout=max(0, deadline - time.monotonic())):
            try:
                part = os.read(master, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            shown += part
            if script and script[0][0] in shown:
                os.write(master, script.pop(0)[1].encode() + b"\n")
    assert not script, shown
    return shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host=0.0.0.0",), "nothing would encrypt"),
        (("--host=0.0.0.0", "--behind-proxy=10.0.0.0/8"), "--public-url"),
        (("--public-url=https://c.example",), "nothing here ends TLS"),
        (("--tls-cert=/none.pem",), "belong together"),
        (("--tls-cert=/none.pem", "--tls-key=/none.pem"), "/none.pem"),
        (("--port=many",), "0 to 65535"),
        (("--host=203.0.113.1", "--behind-proxy=::1", "--public-url=https://c.example"), "cannot"),
    ],
)
def test_serve_refuses(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A server that would be unsafe or cannot be says so and does not start."""
    done = run(tmp_path, "serve", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--port", "--gateway-port"])
def test_port_in_use(data_dir: Path, option: str) -> None:
    """The message names the port and the option that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        others = {"--port": "0", "--gateway-port": "0", option: str(port)}
        done = run(data_dir, "serve", *(f"{name}={value}" for name, value in others.items()))
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert option in done.stderr
    assert "Traceback" not in done.stderr


def test_database_cannot_be_written(tmp_path: Path) -> None:
    """A folder that is a file, and a database that is none, are named."""
    (tmp_path / "file").touch()
    done = run(tmp_path / "file" / "below", "serve", "--port=0")
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "coconowork.sqlite3").write_text("this is no database, but long enough " * 30)
    done = run(folder, "serve", "--port=0")
    assert done.returncode == 1
    assert "coconowork.sqlite3: the database cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


async def test_tls(data_dir: Path, tmp_path: Path) -> None:
    """With a certificate, console and gateway speak TLS, and only that."""
    certificate = _certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    options = (f"--tls-cert={certificate}", f"--tls-key={tmp_path / 'key.pem'}")
    with serving(data_dir, *options) as server:
        assert f"console  https://127.0.0.1:{server.port('console')}/\n" in server.output
        for what, path in (("console", "/login/"), ("gateway", "/healthz")):
            with closing(
                http.client.HTTPSConnection("127.0.0.1", server.port(what), context=context)
            ) as connection:
                connection.request("GET", path)
                assert connection.getresponse().status == 200
        client = Client(server.port("gateway"), scheme="wss", ssl=context)
        async with client:
            assert (await client.log_in("admin", PASSWORD)).console_url is not None
        with pytest.raises(Exception, match=r"(?i)did not receive a valid HTTP|connection"):
            await Client(server.port("gateway")).__aenter__()


def _certificate(folder: Path) -> Path:
    """A self-signed one for 127.0.0.1; its key is `key.pem` beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path
