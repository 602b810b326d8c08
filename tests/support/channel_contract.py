"""Tests that the control channel passes on every platform."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from agent import control
from agent.control import LAST_WORDS_S, MAX_CONNECTIONS, MAX_LINE_BYTES, ControlChannel
from agent.desktop import open_channel
from agent.paths import Paths, find_paths
from agent.ports import ChannelBusy, ChannelError, NotRunning, Request
from tests.support.places import ROOT

HOLDER = """
import asyncio, sys
from agent.desktop import open_channel
from agent.paths import find_paths
async def handle(request):
    return {"from": "holder"}
asyncio.run(open_channel(find_paths({"COCONOWORK_HOME": sys.argv[1]})).serve(
    handle, claimed=lambda: print("claimed", flush=True)))
"""


async def echo(request: Request) -> Request:
    """Answer a request with itself."""
    return {"echo": request}


async def empty(_: Request) -> Request:
    return {}


async def ask(paths: Paths, request: Request, *, timeout_s: float = 10) -> Request:
    """Return the answer of the client of `paths`."""
    return await open_channel(paths).ask(request, timeout_s=timeout_s)


async def connect(paths: Paths) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as `ask` does, to send data that `ask` never sends."""
    return await open_channel(paths)._ends.connect(limit=MAX_LINE_BYTES)


async def raw(paths: Paths, data: bytes) -> bytes:
    """Send bytes without `ask`. Return the answer until the peer closes."""
    reader, writer = await connect(paths)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@asynccontextmanager
async def serving(
    channel: ControlChannel, handle: Callable[[Request], object] = echo
) -> AsyncIterator[asyncio.Task[None]]:
    """Claim `channel` and answer on it until the end of the context."""
    claimed = asyncio.Event()
    task = asyncio.ensure_future(channel.serve(handle, claimed=claimed.set))  # type: ignore[arg-type] # a coroutine function
    waiting = asyncio.ensure_future(claimed.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if task.done():
            task.result()
        assert claimed.is_set()
        yield task
    finally:
        waiting.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError, ChannelBusy):
            await task


class ChannelContract:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> Paths:
        return find_paths({"COCONOWORK_HOME": str(tmp_path / "home")})

    async def test_answers(self, paths: Paths, tmp_path: Path) -> None:
        """Requests and answers arrive as they were sent; each profile has a client of its own."""
        other = find_paths({"COCONOWORK_HOME": str(tmp_path / "other")})
        requests = [{"command": "login", "user": "田中", "n": [n, None, 2.5]} for n in range(12)]
        async with serving(open_channel(paths)):
            with pytest.raises(NotRunning):
                await ask(other, {})
            async with serving(open_channel(other), empty):
                answers = await asyncio.gather(*(ask(paths, each) for each in requests))
                assert await ask(other, {}) == {}
        assert answers == [{"echo": each} for each in requests]

    async def test_only_one_claims_it(self, paths: Paths) -> None:
        """A second claim is refused, and the first works on; after its end a new claim succeeds."""
        for number in range(2):
            with pytest.raises(NotRunning):
                await ask(paths, {})
            async with serving(open_channel(paths)):
                with pytest.raises(ChannelBusy):
                    await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))
                assert await ask(paths, {"a": number}) == {"echo": {"a": number}}

    async def test_a_client_waits_for_a_command(
        self, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A start during a command that runs as the client claims the channel after the command."""
        monkeypatch.setattr(control, "LAST_WORDS_S", 0.1)
        monkeypatch.setattr(control, "STATUS_S", 20.0)  # for busy machines
        claimed, asked = asyncio.Event(), list[Request]()

        async def command(request: Request) -> Request:
            asked.append(request)
            await asyncio.sleep(60 if len(asked) > 1 else 0)
            return {"ok": True, "one_command": True}

        async with serving(open_channel(paths), command):
            channel = open_channel(paths)
            client = asyncio.create_task(channel.serve_in_turn(echo, claimed=claimed.set))
            async with asyncio.timeout(10):
                while len(asked) < 2:  # noqa: ASYNC110 - on the same loop
                    await asyncio.sleep(0.01)
            assert not claimed.is_set()
        await asyncio.wait_for(claimed.wait(), 10)
        assert await ask(paths, {}) == {"echo": {}}
        with pytest.raises(ChannelBusy):
            await open_channel(paths).serve_in_turn(echo, claimed=lambda: pytest.fail("claimed"))
        client.cancel()
        await asyncio.wait({client})

    async def test_a_killed_client_is_no_obstacle(self, paths: Paths) -> None:
        """The channel of a killed client can be claimed again."""
        home = str(paths.config_file.parent)
        command = [sys.executable, "-c", HOLDER, home]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:  # noqa: ASYNC220
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline)
            assert await ask(paths, {}) == {"from": "holder"}
            with pytest.raises(ChannelBusy):
                await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))
            holder.kill()
            await asyncio.to_thread(holder.wait)
        async with serving(open_channel(paths)):
            assert await ask(paths, {}) == {"echo": {}}

    async def test_peers_that_misbehave(
        self, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Silence, garbage, over 16 KiB, or half a line from one peer affect no other peer."""
        monkeypatch.setattr(control, "LINE_TIMEOUT_S", 0.2)
        async with serving(open_channel(paths)):
            for data in (b"", b"[1]\n", b"\xff\n", b"{" * 9000 + b"\n", b"x" * 2 * MAX_LINE_BYTES):
                assert await raw(paths, data) == b""
            for half in [b"", b'{"half'] * 20:
                _, writer = await connect(paths)
                writer.write(half)
                writer.close()
            with pytest.raises(ChannelError):
                await ask(paths, {"x": "y" * MAX_LINE_BYTES})
            full = {"x": "y" * (MAX_LINE_BYTES - 40)}
            assert await ask(paths, full) == {"echo": full}

    async def test_a_slow_command_delays_no_other(self, paths: Paths) -> None:
        """A slow command delays no other, and its peer gives up in time."""
        release = asyncio.Event()

        async def handle(request: Request) -> Request:
            if request.get("slow"):
                await release.wait()
            return {"ok": True}

        async with serving(open_channel(paths), handle):
            with pytest.raises(ChannelError):
                await ask(paths, {"slow": True}, timeout_s=0.5)
            assert await ask(paths, {}) == {"ok": True}
            release.set()

    async def test_a_defect_is_answered_and_logged_without_the_request(
        self, paths: Paths, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A command that raises gets an answer; the log has the defect without the request."""

        async def handle(request: Request) -> Request:
            raise ValueError(request["password"])

        caplog.set_level(logging.DEBUG)
        async with serving(open_channel(paths), handle):
            answer = await ask(paths, {"password": "hidden-word"})
            assert answer == {"error": "internal"}
        assert "ValueError" in caplog.text
        assert "hidden-word" not in caplog.text

    async def test_the_last_answer_gets_out(self, paths: Paths) -> None:
        """The command to quit gets its answer before the channel closes."""
        tasks: list[asyncio.Task[None]] = []

        async def handle(request: Request) -> Request:
            tasks[0].cancel()
            await asyncio.sleep(0.1)
            return {"ok": True}

        async with serving(open_channel(paths), handle) as task:
            tasks.append(task)
            assert await ask(paths, {"command": "quit"}) == {"ok": True}

    async def test_an_idle_peer_does_not_delay_the_end(self, paths: Paths) -> None:
        """An idle peer does not delay the channel's close, in any version of asyncio."""
        async with serving(open_channel(paths)) as task:
            reader, writer = await connect(paths)
            assert await ask(paths, {}) == {"echo": {}}
            task.cancel()
            async with asyncio.timeout(LAST_WORDS_S + 2):
                await asyncio.wait({task})
                assert await reader.read() == b""
            writer.close()

    async def test_peers_beyond_the_limit_are_hung_up_on(self, paths: Paths) -> None:
        """Peers above the limit are closed; once others have left, a new one is served."""
        async with serving(open_channel(paths)):
            peers = [await connect(paths) for _ in range(MAX_CONNECTIONS)]
            with pytest.raises(ChannelError):
                await ask(paths, {})
            for reader, writer in peers:
                writer.write(b"\n")  # invalid: the client closes
                await reader.read()
                writer.close()
            assert await ask(paths, {}) == {"echo": {}}
