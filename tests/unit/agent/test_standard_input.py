"""Passwords on standard input, in the encodings that Windows' programs write."""

from __future__ import annotations

import os
import subprocess
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

import pytest

from agent import prompts


def lines(data: bytes, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> list[str]:
    """Return what the program reads from a pipe that has `data`."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        return [prompts.line() for _ in range(count)]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (BOM_UTF8, "utf-8"),
        (BOM_UTF16_LE, "utf-16-le"),
        (BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
def test_encodings(mark: bytes, encoding: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """UTF-8 and UTF-16, with and without a mark, give the same lines."""
    data = mark + f"tanaka\r\nPassw0rd!{end}".encode(encoding)
    assert lines(data, monkeypatch, 2) == ["tanaka", "Passw0rd!"]


@pytest.mark.parametrize("data", [b"", b"\n", b"x\n"])
def test_short_input(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, an empty line and one letter are read as they are."""
    assert lines(data, monkeypatch) == [data.decode().strip()]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"Passw\xe9rd\n", "Standard input is not text"),
        ("パスワード\n".encode("cp932"), "Standard input is not text"),
        ("Passw’rd\n".encode(), "Character 6 "),
        (b"x" * 3000, "too long"),
        (b"\n", "Enter the password."),
    ],
)
def test_what_can_be_no_password(data: bytes, said: str, tmp_path: Path) -> None:
    """The program says so in one sentence, without a traceback, and asks no server."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", "login", "--server", "gw.invalid", "--user", "tanaka"],
        input=data,
        capture_output=True,
        env={**os.environ, "COCONOWORK_HOME": str(tmp_path), "COCONOWORK_LANGUAGE": "en"},
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"Passw" not in done.stdout + done.stderr
