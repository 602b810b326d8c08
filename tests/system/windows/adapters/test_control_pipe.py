"""The control channel on a named pipe."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import threading
from typing import Any

import pytest
import win32con
import win32file
import win32pipe
import win32security

from agent.desktop import open_channel
from agent.paths import Paths
from agent.ports import ChannelBusy
from agent.windows.control import PipeEnds, _this_user
from agent.windows.lock import is_locked
from tests.support.channel_contract import ChannelContract, ask, connect, echo, serving


def squat(name: str) -> Any:
    """Create a pipe of that name, as any other program can."""
    anyone = win32security.SECURITY_ATTRIBUTES()
    return win32pipe.CreateNamedPipe(
        name, win32pipe.PIPE_ACCESS_DUPLEX, 0, 2, 4096, 4096, 0, anyone
    )


class TestPipeChannel(ChannelContract):
    async def test_only_this_user_may_open_it(self, paths: Paths) -> None:
        """Every pipe instance's access list has one entry: this user, who is also the owner."""
        async with serving(open_channel(paths)):
            for _ in range(3):
                _, writer = await connect(paths)
                what = win32security.GetSecurityInfo(
                    writer.get_extra_info("pipe").handle,
                    win32security.SE_KERNEL_OBJECT,
                    win32security.DACL_SECURITY_INFORMATION
                    | win32security.OWNER_SECURITY_INFORMATION,
                )
                writer.close()
                rights = what.GetSecurityDescriptorDacl()
                assert rights.GetAceCount() == 1
                assert rights.GetAce(0)[-1] == what.GetSecurityDescriptorOwner() == _this_user()

    async def test_a_taken_name_keeps_no_client_out(self, paths: Paths) -> None:
        """Another program's pipes with earlier names stop no client and get no questions."""
        ends = PipeEnds(paths)
        async with serving(open_channel(paths)):
            before = ends.names()
        assert ends.names() == before
        taken = [squat(name) for name in before]
        try:
            async with serving(open_channel(paths)):
                assert ends.names()[0] not in before
                assert await ask(paths, {}) == {"echo": {}}
        finally:
            for pipe in taken:
                pipe.Close()

    async def test_a_question_keeps_no_client_out(self, paths: Paths) -> None:
        """A command that asks for the client while the client starts does not stop the start."""
        ends, done = PipeEnds(paths), threading.Event()

        def ask_on() -> None:
            while not done.is_set():
                ends.names()

        asking = threading.Thread(target=ask_on)
        asking.start()
        try:
            for _ in range(50):
                with ends._claimed():
                    pass
        finally:
            done.set()
            asking.join()

    async def test_a_scanner_that_holds_the_lock_file(self, paths: Paths) -> None:
        """A client gets the lock although a scanner holds its file, and stays the only one.

        A second start can read the lock before it asks over the channel.
        """
        assert not is_locked(paths.lock_file)
        async with serving(open_channel(paths)):
            pass
        read, existing = win32con.GENERIC_READ, win32con.OPEN_EXISTING
        held = win32file.CreateFile(str(paths.lock_file), read, 0, None, existing, 0, None)
        threading.Timer(0.2, held.Close).start()
        async with serving(open_channel(paths)):
            assert is_locked(paths.lock_file)
            assert await ask(paths, {}) == {"echo": {}}
            with pytest.raises(ChannelBusy):
                await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))
        assert not is_locked(paths.lock_file)

    async def test_without_a_lock_file(self, paths: Paths) -> None:
        """In a folder that refuses files, one client still runs and answers."""
        paths.lock_file.mkdir(parents=True)
        async with serving(open_channel(paths)):
            assert await ask(paths, {}) == {"echo": {}}
            with pytest.raises(ChannelBusy):
                await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))
