"""Conversations that were recorded: today's client and today's gateway can still follow them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import get_args

import pytest

from agent import __version__
from protocol import messages
from tests.support import conversations
from tests.support.conversations import FOLDER, SCRIPTS, follow_as_client, follow_as_gateway
from tests.support.recorded_client import Step

RECORDINGS = sorted(FOLDER.glob("*/*.jsonl"))
every_recording = pytest.mark.parametrize(
    "file", RECORDINGS, ids=[f"{file.parent.name}-{file.stem}" for file in RECORDINGS]
)


def with_new_fields(step: Step) -> Step:
    """Return a message as the next minor version may send it."""
    new = deepcopy(step)
    for part in (new.get("message", {}), new.get("message", {}).get("device", {})):
        if part:
            part["of_the_next_version"] = {"more": [1, None]}
    return new


def with_new_types(step: Step) -> list[Step]:
    """Return what a server of the next minor version may send in place of a message."""
    new = {"from": "server", "message": {"type": "of_the_next_version", "more": [1]}}
    return [new, with_new_fields(step), new]


@every_recording
def test_client_of_today(file: Path) -> None:
    """It sends what was sent then; fields and types that it does not know change nothing."""
    follow_as_client(conversations.read(file), with_new_types)


@every_recording
async def test_gateway_of_today(database: None, file: Path) -> None:
    """It says what was said then; fields that it does not know change nothing."""
    await follow_as_gateway(conversations.read(file), with_new_fields)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_recording(database: None, name: str, tmp_path: Path) -> None:
    """A recording can be made with today's programs, and be followed."""
    steps = await conversations.record(SCRIPTS[name])
    conversations.write(tmp_path / "folder" / name, steps)
    follow_as_client(conversations.read(tmp_path / "folder" / name))


def test_this_version_is_recorded() -> None:
    """A version is not released without its recording, which has each type of message."""
    folder = FOLDER / __version__.rpartition(".")[0]
    steps = [step for file in folder.iterdir() for step in conversations.read(file)]
    seen = {step["message"]["type"] for step in steps if "message" in step}
    both = (*get_args(messages.ClientMessage), *get_args(messages.ServerMessage))
    assert seen == {each.__struct_config__.tag for each in both}
