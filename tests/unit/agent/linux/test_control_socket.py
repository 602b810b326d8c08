"""The control channel on a Unix socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.control import LAST_WORDS_S
from agent.desktop import ask, open_channel
from agent.linux import control as control_unix
from agent.paths import Paths, find_paths
from agent.ports import ChannelError
from tests.support.channel_contract import ChannelContract, echo, serving
from tests.support.places import ROOT

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


class TestSocketChannel(ChannelContract):
    async def raw(self, paths: Paths, data: bytes) -> bytes:
        reader, writer = await control_unix._connect(paths.runtime_dir)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def touch(self, paths: Paths) -> None:
        _, writer = await control_unix._connect(paths.runtime_dir)
        writer.close()
        await writer.wait_closed()

    async def test_an_idle_peer_does_not_delay_the_end(self, paths: Paths) -> None:
        """The channel is closed at once, whatever version of asyncio closes it."""
        async with serving(open_channel(paths)) as task:
            reader, writer = await control_unix._connect(paths.runtime_dir)
            assert await ask(paths, {}, timeout_s=10) == {"echo": {}}
            task.cancel()
            async with asyncio.timeout(LAST_WORDS_S + 2):
                await asyncio.wait({task})
                assert await reader.read() == b""
            writer.close()

    async def test_only_this_user_can_get_there(self, paths: Paths) -> None:
        """Directory 0700, socket and lock 0600, also where the directory was there and open."""
        paths.runtime_dir.mkdir(parents=True, mode=0o755)
        async with serving(open_channel(paths)):
            for path in [paths.runtime_dir, *paths.runtime_dir.iterdir()]:
                assert path.stat().st_mode & 0o077 == 0

    @needs_root
    async def test_another_user_is_hung_up_on(self, paths: Paths) -> None:
        """Another user's connection is closed, even when all users may open the socket."""
        async with serving(open_channel(paths)):
            directory = paths.runtime_dir
            for path in [*directory.parents[:-1], directory, directory / "control.sock"]:
                path.chmod(0o777)
            script = (
                "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
                "s.connect(sys.argv[1]); s.sendall(b'{}\\n'); print(s.recv(100))"
            )
            command = [sys.executable, "-c", script, str(directory / "control.sock")]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
            )
        assert done.stdout == "b''\n" or "ConnectionReset" in done.stderr or "Broken" in done.stderr

    @needs_root
    async def test_a_directory_of_another_user_is_refused(self, paths: Paths) -> None:
        """The owner of the folder could put another socket there, and get a password."""
        paths.runtime_dir.mkdir(parents=True)
        os.chown(paths.runtime_dir, 65534, 65534)
        with pytest.raises(ChannelError):
            await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))

    @needs_root
    async def test_a_false_server_is_sent_nothing(self, paths: Paths) -> None:
        """The asker looks who listens before it sends: a password may be in the request."""
        paths.runtime_dir.mkdir(parents=True)
        script = (
            "import os, socket, sys; os.chdir(sys.argv[1]); os.setuid(65534);"
            "s = socket.socket(socket.AF_UNIX); s.bind('control.sock'); s.listen();"
            "print('ready', flush=True); c, _ = s.accept(); print(c.recv(100), flush=True)"
        )
        directory = paths.runtime_dir
        for path in [*directory.parents[:-1], directory]:
            path.chmod(0o777)
        command = [sys.executable, "-c", script, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as false:  # noqa: ASYNC220
            assert false.stdout is not None
            assert await asyncio.to_thread(false.stdout.readline) == "ready\n"
            with pytest.raises(ChannelError):
                await ask(paths, {"password": "hidden-word"}, timeout_s=10)
            assert await asyncio.to_thread(false.stdout.readline) == "b''\n"

    async def test_a_long_home_is_no_obstacle(self, tmp_path: Path) -> None:
        """A socket's own path may have 107 bytes only; the directory's may be longer."""
        paths = find_paths({"COCONOWORK_HOME": str(tmp_path / ("x" * 200))})
        async with serving(open_channel(paths)):
            assert await ask(paths, {}, timeout_s=10) == {"echo": {}}

    async def test_a_peer_that_says_nothing_is_hung_up_on(
        self, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An idle connection ends; it does not take a place for ever."""
        monkeypatch.setattr(control_unix, "LINE_TIMEOUT_S", 0.2)
        async with serving(open_channel(paths)):
            assert await self.raw(paths, b"") == b""

    async def test_peers_beyond_the_limit_are_hung_up_on(self, paths: Paths) -> None:
        """Peers above the limit are closed; when others have left, a new one is served."""
        async with serving(open_channel(paths)):
            peers = [await control_unix._connect(paths.runtime_dir) for _ in range(16)]
            with pytest.raises(ChannelError):
                await ask(paths, {}, timeout_s=10)
            for reader, writer in peers:
                writer.write_eof()
                await reader.read()
                writer.close()
            assert await ask(paths, {}, timeout_s=10) == {"echo": {}}

    async def test_what_cannot_be_opened_is_told(self, paths: Paths) -> None:
        """A file where the directory should be: a ChannelError with its name."""
        paths.runtime_dir.parent.mkdir(parents=True)
        paths.runtime_dir.touch()
        with pytest.raises(ChannelError, match="run"):
            await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))

    async def test_leaves_no_socket(self, paths: Paths) -> None:
        """The socket goes with the client; the lock file stays, or two could lock two."""
        async with serving(open_channel(paths)):
            assert (paths.runtime_dir / "control.sock").is_socket()
        assert [path.name for path in paths.runtime_dir.iterdir()] == ["client.lock"]

    async def test_closed_sockets_are_closed(self, paths: Paths) -> None:
        """An asker that goes away in the middle of a line costs nothing."""
        async with serving(open_channel(paths)):
            for _ in range(40):
                _, writer = await control_unix._connect(paths.runtime_dir)
                writer.write(b'{"half')
                writer.close()
                await writer.wait_closed()
            assert await ask(paths, {}, timeout_s=10) == {"echo": {}}
