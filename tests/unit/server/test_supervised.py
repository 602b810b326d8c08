"""server/supervised.py: a task that must run is restarted."""

from __future__ import annotations

import asyncio
import logging

import pytest

from server import supervised
from server.supervised import Supervision


@pytest.mark.parametrize("raises", [ValueError("unexpected"), asyncio.CancelledError(), None])
async def test_task_that_ends_is_restarted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raises: BaseException | None
) -> None:
    """An unexpected exception or end is logged; the task is restarted, and unhealthy for a time.

    Leaving the context cancels the task.
    """
    monkeypatch.setattr(supervised, "RESTART_SECONDS", (0.0, 0.0))
    runs: list[Supervision] = []
    ran_again = asyncio.Event()

    async def work() -> None:
        runs.append(supervision)
        if len(runs) < 3:
            if raises is not None:
                raise raises
            return
        ran_again.set()
        try:
            await asyncio.Event().wait()
        finally:
            runs.clear()

    caplog.set_level(logging.ERROR)
    async with supervised.supervised("sweeper", work) as supervision:
        assert supervision.is_healthy
        async with asyncio.timeout(10):
            await ran_again.wait()
        assert not supervision.is_healthy
        monkeypatch.setattr(supervised, "STEADY_SECONDS", 0.0)
        assert supervision.is_healthy
        assert len(runs) == 3
    assert caplog.text.count("task sweeper has") == 2
    assert runs == []
