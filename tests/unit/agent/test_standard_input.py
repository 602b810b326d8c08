"""Passwords on standard input, in the encodings that Windows' programs write."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

import pytest

from agent import hardening, prompts
from agent.__main__ import main


def lines(data: bytes, monkeypatch: pytest.MonkeyPatch, count: int) -> list[str]:
    """Return what the program reads from a pipe that has `data`."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        return [prompts.line() for _ in range(count)]


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
def test_encodings(mark: bytes, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """UTF-8 and UTF-16, with and without a mark, give the same lines; so do short ones."""
    for end in ("", "\n", "\r\n"):
        data = mark + f"tanaka\r\nPassw0rd!{end}".encode(encoding)
        assert lines(data, monkeypatch, 2) == ["tanaka", "Passw0rd!"]
    assert lines(b"x\n\n", monkeypatch, 3) == ["x", "", ""]


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
def test_what_can_be_no_password(
    data: bytes,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The program says so in one sentence, without a traceback, and asks no server."""
    monkeypatch.setattr(hardening, "harden", lambda: None)  # it would last for other tests
    (tmp_path / "input").write_bytes(data)
    for name, value in {"COCONOWORK_HOME": str(tmp_path), "COCONOWORK_LANGUAGE": "en"}.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "input").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["login", "--server", "gw.invalid", "--user", "tanaka"]) == 1
    output = "".join(capsys.readouterr())
    assert said in output
    assert "Passw" not in output
