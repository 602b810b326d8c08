"""SIGTERM while something is under way: it is finished, clients are told, the exit code is 0."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from protocol import messages
from tests.support.browser import Browser
from tests.support.gateway_client import Client
from tests.support.installation import ADMIN, ADMIN_PASSWORD, P1, P2, STOP_S, Installation, Server
from tests.support.polling import eventually


class Changing:
    """A browser that sends a password change from a thread; `answer` is there after `join`."""

    def __init__(self, server: Server, username: str) -> None:
        self._browser = Browser(server.console)
        assert self._browser.log_in(username, P1)
        self._browser.open("/password/")
        self._thread = threading.Thread(target=self._send)
        self.answer: Any = None

    def begin(self) -> None:
        """Send it, which goes on until `join`."""
        self._thread.start()

    def _send(self) -> None:
        self.answer = self._browser.submit(
            follow=False, current_password=P1, new_password1=P2, new_password2=P2
        )

    def join(self) -> None:
        self._thread.join(STOP_S)
        self._browser.close()


def cpu_s(server: Server) -> float:
    """Return the CPU seconds that the process has used; hashing a password takes some 0.3 s."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_change_under_way(installation: Installation) -> None:
    """A change that has begun is done and answered; clients get a time to come back."""
    installation.add_user("tanaka")
    with installation.serving() as server:
        async with Client(server.gateway) as client:
            await client.log_in("tanaka", P1)
            changing = Changing(server, "tanaka")
            before = cpu_s(server)
            changing.begin()
            eventually(lambda: cpu_s(server) > before + 0.05)
            server.process.send_signal(signal.SIGTERM)
            ends: list[messages.Bye] = []
            while not ends:
                message = await client.receive()
                ends = [message] if isinstance(message, messages.Bye) else []
            assert ends[0].reason == "shutting_down"
            assert ends[0].retry_after_s is not None
            assert await client.closed() == 1001
        assert server.process.wait(STOP_S) == 0
        changing.join()
    assert changing.answer.headers["Location"].startswith("/password/changed/")
    assert installation.query("SELECT count(*) FROM console_passwordchange") == [(1,)]
    waiting = "SELECT count(*) FROM console_device WHERE waiting_since IS NOT NULL"
    assert installation.query(waiting) == [(0,)]
    assert not installation.file.with_name(installation.file.name + "-wal").exists()
    assert "Traceback" not in server.logged()


async def test_second_signal(installation: Installation) -> None:
    """A second signal does no harm: the same end, and the same exit code."""
    installation.add_user("tanaka")
    with installation.serving() as server:
        async with Client(server.gateway) as client:
            await client.log_in("tanaka", P1)
            server.process.send_signal(signal.SIGTERM)
            assert (await client.expect(messages.Bye)).reason == "shutting_down"
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGINT)
        assert server.process.wait(STOP_S) == 0
    assert "Traceback" not in server.logged()


def test_request_that_never_ends(installation: Installation) -> None:
    """A browser that sends half a request, or never reads, cannot keep the server from ending."""
    with installation.serving() as server:
        half = socket.create_connection(("127.0.0.1", server.port("console")))
        half.sendall(
            b"POST /login/ HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 500\\r\\n\\r\\nx="
        )
        idle = socket.create_connection(("127.0.0.1", server.gateway))
        idle.sendall(b"GET /gateway HT")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_S) == 0, "took too long"
        assert time.monotonic() - begin < STOP_S
        half.close()
        idle.close()


def test_a_second_server_on_one_file_does_not_start(installation: Installation) -> None:
    """A second server says why it does not start; when the first is killed, the next one starts."""
    with installation.serving() as first:
        done = installation.run("serve", "--port=0", "--gateway-port=0")
        assert done.returncode == 1
        assert "another server runs on this database" in done.stderr
        with Browser(first.console) as browser:
            assert browser.log_in(ADMIN, ADMIN_PASSWORD)
        first.process.kill()
        first.process.wait()
        with installation.serving() as second, Browser(second.console) as browser:
            assert browser.log_in(ADMIN, ADMIN_PASSWORD)
