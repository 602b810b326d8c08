"""The control channel on a named pipe."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("for Windows")

import asyncio
from time import monotonic

import pytest
import pywintypes
import win32event
import win32security

from agent.desktop import ask, open_channel
from agent.paths import Paths
from agent.ports import ChannelBusy
from agent.windows import control as control_windows
from tests.support.channel_contract import ChannelContract, echo, serving


class TestPipeChannel(ChannelContract):
    async def raw(self, paths: Paths, data: bytes) -> bytes:
        def talk() -> bytes:
            name = control_windows.pipe_name_of(paths)
            stream = control_windows._Stream(control_windows._open(name, monotonic() + 10))
            try:
                stream.write(data, 10)
                return stream.read_line(15)
            except pywintypes.error:
                return b""
            finally:
                stream.close()

        return await asyncio.to_thread(talk)

    async def touch(self, paths: Paths) -> None:
        # On the loop's thread, so that nothing else of ours runs in between.
        control_windows._open(control_windows.pipe_name_of(paths), monotonic() + 10).Close()

    async def test_only_this_user_may_open_it(self, paths: Paths) -> None:
        """The pipe's access list has one entry, this user."""
        async with serving(open_channel(paths)):
            pipe = control_windows._open(control_windows.pipe_name_of(paths), monotonic() + 10)
            rights = win32security.GetSecurityInfo(
                pipe,
                win32security.SE_KERNEL_OBJECT,
                win32security.DACL_SECURITY_INFORMATION,
            ).GetSecurityDescriptorDacl()
            pipe.Close()
            assert rights.GetAceCount() == 1
            assert rights.GetAce(0)[-1] == control_windows._user()

    async def test_a_peer_that_says_nothing_is_hung_up_on(
        self, paths: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An idle connection is ended, and the next one is served."""
        monkeypatch.setattr(control_windows, "LINE_TIMEOUT_S", 0.3)
        async with serving(open_channel(paths)):
            assert await self.raw(paths, b"") == b""
            assert await ask(paths, {}, timeout_s=10) == {"echo": {}}

    async def test_taken_names_keep_no_client_out(self, paths: Paths) -> None:
        """Another program has the names that a client used before, as pipe and as mutex."""
        async with serving(open_channel(paths)):
            before = control_windows.pipe_name_of(paths)
        fixed = control_windows._fixed_name(paths)
        everyone = win32security.SECURITY_ATTRIBUTES()
        taken = [
            win32event.CreateMutex(everyone, True, rf"Global\{name}") for name in (fixed, before)
        ]
        taken += [control_windows._create_pipe(name, first=True) for name in (fixed, before)]
        try:
            async with serving(open_channel(paths)):
                assert control_windows.pipe_name_of(paths) not in {fixed, before}
                assert await ask(paths, {}, timeout_s=10) == {"echo": {}}
        finally:
            for handle in taken:
                handle.Close()

    async def test_without_a_lock_file(self, paths: Paths) -> None:
        """In a folder that refuses files there is still one client, which answers."""
        (paths.runtime_dir / control_windows.LOCK_NAME).mkdir(parents=True)
        async with serving(open_channel(paths)):
            assert await ask(paths, {}, timeout_s=10) == {"echo": {}}
            with pytest.raises(ChannelBusy):
                await open_channel(paths).serve(echo, claimed=lambda: pytest.fail("claimed"))
