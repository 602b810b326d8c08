"""SIGTERM during a change: the change is finished, clients get `bye`, the exit code is 0."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

from protocol import messages
from tests.support.gateway_client import Client
from tests.support.installation import P1, P2, STOP_S, Installation
from tests.support.polling import eventually


async def test_change_under_way(installation: Installation) -> None:
    """A change that has begun is done and answered; clients get a time to reconnect.

    Further signals change nothing.
    """
    installation.add_user("tanaka")
    with installation.serving() as server, server.browser("tanaka", P1) as browser:
        browser.open("/password/")
        fields = {"current_password": P1, "new_password1": P2, "new_password2": P2}
        async with Client(server.gateway) as client:
            await client.log_in("tanaka", P1)
            before = server.cpu_s()
            changing = asyncio.create_task(
                asyncio.to_thread(lambda: browser.submit(follow=False, **fields))
            )
            # Hashing a password takes some 0.3 s of CPU.
            await asyncio.to_thread(eventually, lambda: server.cpu_s() > before + 0.05)
            server.process.send_signal(signal.SIGTERM)
            while not isinstance(message := await client.receive(), messages.Bye):
                pass  # the push
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGINT)
            assert message.reason == "shutting_down"
            assert message.retry_after_s is not None
            assert await client.closed() == 1001
        answer = await changing
        assert server.process.wait(STOP_S) == 0
    assert answer.headers["Location"].startswith("/password/changed/")
    assert installation.query("SELECT count(*) FROM console_passwordchange") == [(1,)]
    waiting = "SELECT count(*) FROM console_device WHERE waiting_since IS NOT NULL"
    assert installation.query(waiting) == [(0,)]
    assert not installation.file.with_name(installation.file.name + "-wal").exists()
    assert "Traceback" not in server.logged()


def test_a_second_server_on_one_file_does_not_start(
    installation: Installation, tmp_path: Path
) -> None:
    """A second server on one file says why it does not start; after a kill, the next starts.

    A browser and a client that send half a request do not delay that server's stop.
    """
    link = tmp_path / "link.db"
    link.symlink_to(installation.file)
    with installation.serving() as first:
        done = installation.run("serve", "--port=0", "--gateway-port=0", DATABASE=str(link))
        assert done.returncode == 1
        assert "another server runs on this database" in done.stderr
        first.process.kill()
        first.process.wait()
    with (
        installation.serving() as second,
        socket.create_connection(("127.0.0.1", second.port("console"))) as half,
        socket.create_connection(("127.0.0.1", second.gateway)) as idle,
    ):
        second.wait_until_ready()
        half.sendall(b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nx=")
        idle.sendall(b"GET /gateway HT")
        assert second.stop() == 0
