"""The command line: its language, passwords on standard input, refused starts."""

from __future__ import annotations

import argparse
import os
import re
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

import pytest

from agent import dialogs, logs, prompts
from agent.__main__ import main

OURS = re.compile(
    r"coconowork-client|update-password|gw\.example\.com|wss?://|PC"
    r"|\b(run|status|login|logout|quit|doctor|bogus)\b|--?[a-z]+"
)
"""Words that are not translated into Japanese."""


@pytest.fixture(autouse=True)
def japanese_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up an English system and a user who has chosen Japanese."""
    monkeypatch.setattr(argparse, "_", argparse._)  # type: ignore[attr-defined] # set back after it
    (tmp_path / "client.toml").write_text('language = "ja"\n', encoding="utf-8")
    for name, value in {"COCONOWORK_HOME": str(tmp_path), "LANG": "C"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["login", "--help"], 0),
        (["status", "-h"], 0),
        (["bogus"], 2),
        (["--bogus"], 2),
        (["login", "--server"], 2),
        (["login", "--password", "x"], 2),
        (["login", "--code", "--user", "tanaka"], 2),
        (["login", "--serv", "gw.example.com"], 2),
        (["status", "--json=1"], 2),
        (["quit", "bogus"], 2),
    ],
)
def test_speaks_the_users_language(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Help and errors are all in the user's language, also those of argparse."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = "".join(capsys.readouterr())
    assert end.value.code == code
    assert "使い方: coconowork-client" in said
    assert not re.findall(r"[A-Za-z]{2,}", OURS.sub("", said)), said


@pytest.mark.parametrize(("arguments", "shown"), [(["run"], 1), (["run", "--autostart"], 0)])
def test_a_refused_start_is_logged_and_shown_to_a_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], shown: int
) -> None:
    """A refused start names the setting in the log; a start without a user opens no window."""
    (tmp_path / "client.toml").write_text('language = "fr"\n')
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(dialogs, "tell", lambda *texts: told.append(texts))
    monkeypatch.setattr(sys, "stderr", None)
    try:
        assert main(arguments) == 1
    finally:
        logs.tear_down()
    assert "client.toml: language: allowed is" in (tmp_path / "log" / "client.log").read_text()
    assert len(told) == shown


def lines(data: bytes, monkeypatch: pytest.MonkeyPatch, count: int) -> list[str]:
    """Return the `count` lines that the program reads from a pipe with `data`."""
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
    """UTF-8 and UTF-16, with and without a byte order mark, give the same lines."""
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
    """Text that can be no password gives a one-line error, without a traceback or connection."""
    monkeypatch.setenv("COCONOWORK_LANGUAGE", "en")
    monkeypatch.setattr("agent.__main__.harden", lambda: None)  # it cannot be undone
    (tmp_path / "input").write_bytes(data)
    with (tmp_path / "input").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["login", "--server", "gw.invalid", "--user", "tanaka"]) == 1
    output = "".join(capsys.readouterr())
    assert said in output
    assert "Passw" not in output
