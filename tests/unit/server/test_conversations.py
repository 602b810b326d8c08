"""Today's client and gateway can still hold the recorded conversations of each version."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import get_args

import pytest

from agent import __version__
from protocol import messages
from tests.support import conversations
from tests.support.conversations import FOLDER, RealClient, Step, play, real_gateway

every_recording = pytest.mark.parametrize(
    "file", sorted(FOLDER.glob("*/*.jsonl")), ids=lambda file: f"{file.parent.name}-{file.stem}"
)


def with_new_fields(step: Step) -> list[Step]:
    """Return a message as the next minor version may send it."""
    new = deepcopy(step)
    for part in (new.get("message", {}), new.get("message", {}).get("device", {})):
        if part:
            part["of_the_next_version"] = {"more": [1, None]}
    return [new]


def with_new_types(step: Step) -> list[Step]:
    """Return what a server of the next minor version may send in place of a message."""
    new = {"from": "server", "message": {"type": "of_the_next_version", "more": [1]}}
    return [new, *with_new_fields(step), new]


@every_recording
async def test_client_of_today(file: Path) -> None:
    """The client sends what the recording has; unknown fields and types change nothing."""
    first, *steps, end = conversations.read(file)
    client = RealClient(first)
    await play(steps, client=client, change=with_new_types)
    assert client.end == end


@every_recording
async def test_gateway_of_today(database: None, file: Path) -> None:
    """The gateway sends what the recording has; unknown fields change nothing."""
    first, *steps, _ = conversations.read(file)
    async with real_gateway(first) as gateway:
        await play(steps, server=gateway, change=with_new_fields)


THIS_VERSION = FOLDER / __version__.rpartition(".")[0]


@pytest.mark.parametrize("name", ["old_version", "push_not_stored", "farewell"])
async def test_recording(database: None, name: str, tmp_path: Path) -> None:
    """A conversation recorded with today's programs can be replayed."""
    steps = await conversations.record(conversations.read(THIS_VERSION / f"{name}.jsonl"))
    conversations.write(tmp_path / "folder" / name, steps)
    await test_client_of_today(tmp_path / "folder" / name)


def test_this_version_is_recorded() -> None:
    """The current version has a recording, with each type of message."""
    files = THIS_VERSION.iterdir()
    seen = {each for file in files for each in conversations.types(conversations.read(file))}
    both = (*get_args(messages.ClientMessage), *get_args(messages.ServerMessage))
    assert seen == {each.__struct_config__.tag for each in both}
