"""Every command on a page is run by a test, or commands.toml says why it is not."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent import command_line
from server.__main__ import COMMANDS as SERVER_COMMANDS
from tests.support.documented import PAGES, commands
from tests.support.places import ROOT

ENTRIES = tomllib.loads(Path(__file__).with_name("commands.toml").read_text("utf-8"))
MAKE = re.compile(r"make( [A-Z]+=\S+| [a-z]+)*")
SHOWN = sorted({command for page in PAGES for command in commands(page)})


def test_every_command_has_one_entry() -> None:
    """Each command on a page has one entry: an existing test file, or a reason not to test it."""
    entries = [each for kind in ENTRIES.values() for group in kind.values() for each in group]
    assert sorted(entries) == [each for each in SHOWN if not MAKE.fullmatch(each)]
    assert [each for each in ENTRIES["run_by"] if not (ROOT / "tests" / each).is_file()] == []


if sys.platform != "win32":  # make is a tool of the Linux checkout

    @pytest.mark.parametrize("command", [each for each in SHOWN if MAKE.fullmatch(each)])
    def test_make_knows_the_target(command: str) -> None:
        """A page's make target and its variables exist, and so do the files that it starts."""
        _, *arguments = shlex.split(command)
        dry = [*("make", "--dry-run", "--always-make"), *arguments]
        done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for module in re.findall(r"python\S* -m ([\w.]+)", done.stdout):
            assert importlib.util.find_spec(module), module
        for script in re.findall(r"\bsh (\S+)", done.stdout):
            assert (ROOT / script).is_file(), script
        makefile = (ROOT / "Makefile").read_text()
        for variable in re.findall(r"\b([A-Z]+)=", command):
            assert f"$({variable})" in makefile, variable


def of_client(command: str) -> list[str] | None:
    """Return the arguments of a client's command, None for any other command."""
    bare = re.sub(r" *>.*|[\[\]]", "", command)
    started = re.match(r"(?:coconowork-client(?:\.com)?|python(?: -P)? -m agent)(?= |$)", bare)
    return shlex.split(bare[started.end() :]) if started else None


@pytest.mark.parametrize("command", [each for each in SHOWN if of_client(each)])
def test_the_client_takes_the_arguments(command: str) -> None:
    """The client's parser accepts each command of the client on the pages."""
    arguments = of_client(command)
    assert arguments
    if arguments != ["--version"]:
        assert command_line.parse(arguments, str).command == arguments[0]


def test_the_page_of_commands_is_complete() -> None:
    """docs/commands.md has every command of both programs."""
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    client = {"run", "status", "login", "update-password", "logout", "quit", "doctor"}
    shown = {arguments[0] for each in SHOWN if (arguments := of_client(each))}
    assert client | {"--version"} == shown
    assert set(SERVER_COMMANDS) == set(re.findall(r"`coconowork-server ([\w-]+)", page))


def test_services_are_units_of_the_package() -> None:
    """A service that a command names is a systemd unit that the package's build makes."""
    build = (ROOT / "installer" / "debian" / "build").read_text()
    [parts] = re.findall(r"^for part in (.*); do", build, re.MULTILINE)
    assert (ROOT / "installer" / "debian" / "coconowork.service").is_file()
    units = {"coconowork", *(f"coconowork-{part}@" for part in parts.split())}
    words = {word for each in SHOWN if "ctl " in each for word in each.split()}
    named = {re.sub(r"(?<=@)\d+", "", word) for word in words if word.startswith("coconowork")}
    assert named == units
