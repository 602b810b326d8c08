"""Run the commands of docs/backup.md, operations.md and commands.md as they are written.

Only folders, addresses and ports are replaced. `tests/system/debian` has those of docs/server.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documented import blocks, commands, lines
from tests.support.places import ROOT
from tests.support.postgres import SUPERUSER, running_postgres

PASSWORD = "Keeper-8361-94\n"


class Machine:
    """A machine on which the pages' programs are the checkout's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name, module in (
            ("coconowork-server", "server"),
            ("coconowork-client", "agent"),
            ("django-admin", "django"),
        ):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
            program.chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "COCONOWORK_HOME": str(folder / "client"),
            "COCONOWORK_SERVER_DATA_DIR": str(folder / "data"),
        }

    def run(
        self, command: str, *, stdin: str = PASSWORD, replaced: dict[str, str] | None = None
    ) -> str:
        """Run one command, which must succeed; return its output."""
        for written, real in (replaced or {}).items():
            command = command.replace(written, real)
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,  # without a terminal, passwords are read from `stdin`
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def shell(page: str) -> list[list[str]]:
    """Return the commands of a page's `sh` blocks."""
    return [lines(block) for block in blocks(ROOT / "docs" / page, "sh")]


def test_postgresql(machine: Machine) -> None:
    """docs/operations.md and backup.md: role, database, backup and restore on PostgreSQL."""
    # The tests' superuser has the name of the role on the page.
    renamed = {
        "runuser -u postgres -- ": "",
        "coconowork": "role_of_the_page",
        "db.example": "127.0.0.1",
    }
    create = next(block for block in shell("operations.md") if "createuser" in block[0])
    with running_postgres() as postgres:
        port = str(postgres.port)
        machine.environment |= {"PGPORT": port, "PGUSER": SUPERUSER, "PGHOST": "127.0.0.1"}
        for command in create:
            machine.run(command, stdin=PASSWORD * 2, replaced=renamed)
        password = "SELECT count(rolpassword) FROM pg_authid WHERE rolname = 'role_of_the_page'"
        assert postgres.execute(password) == [(1,)]
        address = f"postgresql://role_of_the_page@127.0.0.1:{port}/role_of_the_page"
        machine.environment["COCONOWORK_SERVER_DATABASE"] = address
        machine.run("coconowork-server createadmin --account Before --user before")
        for command in shell("backup.md")[2] + shell("backup.md")[3]:
            machine.run(command, replaced=renamed)
        machine.environment["COCONOWORK_SERVER_DATABASE"] = address + "_restored"
        assert "Before\t" in machine.run("coconowork-server users list")


def test_table_of_commands(machine: Machine) -> None:
    """docs/commands.md: each command of the server in the table runs."""
    replaced = {
        "[--account NAME]": "--account name",
        "NAME": "name",
        "FILE": str(machine.folder / "copy.sqlite3"),
        "[--yes]": "--yes",
    }
    page = commands(ROOT / "docs" / "commands.md")
    table = [command for command in page if command.startswith("coconowork-server ")]
    table.remove("coconowork-server serve")
    table.remove("coconowork-server move-to postgresql://USER@HOST/NAME")
    table.remove("coconowork-server doctor [--output FILE]")  # fails: no server runs
    assert len(table) == 10
    for command in table:
        stdin = "0ther-0ther\n" if "reset" in command else PASSWORD
        machine.run(command, stdin=stdin, replaced=replaced)
    assert "0.1" in machine.run("coconowork-client --version")
    # The secret key of docs/operations.md, and the sessions of docs/console.md.
    [secret] = [each for each in commands(ROOT / "docs" / "operations.md") if "secrets" in each]
    assert len(machine.run(secret).strip()) >= 64
    [clear] = [each for each in commands(ROOT / "docs" / "console.md") if "clearsessions" in each]
    machine.run(clear)
