"""The control channel on a Unix socket."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.control import ControlChannel
from agent.desktop import open_channel
from agent.linux.control import SocketEnds
from agent.paths import Paths
from agent.ports import Accept, ChannelError
from tests.support.channel_contract import ChannelContract, ask, echo, serving
from tests.support.fakes import FakeEnds
from tests.support.places import ROOT

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


class TestSocketChannel(ChannelContract):
    @needs_root
    async def test_another_user_is_hung_up_on(self, paths: Paths) -> None:
        """Another user's connection is closed without an answer."""
        script = (
            "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
            "s.connect(chr(0) + sys.argv[1]); s.sendall(b'{}\\n'); print(s.recv(100))"
        )
        command = [sys.executable, "-c", script, SocketEnds(paths)._name[1:]]
        async with serving(open_channel(paths)):
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
            )
        assert done.stdout == "b''\n" or "ConnectionReset" in done.stderr or "Broken" in done.stderr

    @pytest.mark.parametrize("turns", range(5))
    async def test_a_peer_that_is_accepted_at_the_end(self, paths: Paths, turns: int) -> None:
        """A peer accepted while the server stops has its socket closed, at any step of the loop."""
        with socket.socket(socket.AF_UNIX) as peer:
            async with serving(open_channel(paths)):
                peer.connect(SocketEnds(paths)._name)
                for _ in range(turns):
                    await asyncio.sleep(0)
            gc.collect()  # warns of an open socket

    @needs_root
    async def test_a_false_server_is_sent_nothing(self, paths: Paths) -> None:
        """Nothing is sent to another user's socket, and a client does not start beside it."""
        script = (
            "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
            "s.bind(chr(0) + sys.argv[1]); s.listen(); print('ready', flush=True)\n"
            "for _ in range(2): c, _ = s.accept(); print(c.recv(100), flush=True)"
        )
        command = [sys.executable, "-c", script, SocketEnds(paths)._name[1:]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as false:  # noqa: ASYNC220
            assert false.stdout is not None
            assert await asyncio.to_thread(false.stdout.readline) == "ready\n"
            with pytest.raises(ChannelError, match="another user"):
                await ask(paths, {"password": "hidden-word"})
            assert await asyncio.to_thread(false.stdout.readline) == "b''\n"
            with pytest.raises(ChannelError, match="another user"):
                await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))
            false.kill()


class Ends(FakeEnds):
    """A server's ends whose peers the test adds."""

    @asynccontextmanager
    async def listen(self, accept: Accept, *, limit: int) -> AsyncIterator[None]:
        self.accept = accept
        yield


async def test_peers_that_come_at_the_end_are_hung_up_on() -> None:
    """At the stop, connections that just begin or come later are closed, too."""
    ends = Ends()
    async with serving(ControlChannel(ends)) as task:
        for end in (task.cancel, lambda: None):
            ours, theirs = socket.socketpair()
            with theirs:
                reader, writer = await asyncio.open_connection(sock=ours)
                end()
                ends.accept(reader, writer)
                await asyncio.wait({task})
                assert writer.is_closing()
