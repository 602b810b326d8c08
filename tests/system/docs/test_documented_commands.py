"""Run the commands of docs/backup.md, operations.md and commands.md as they are written.

Replaced are folders, addresses and ports only. `tests/system/debian` runs those of an installation.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.documented import blocks, commands, lines
from tests.support.places import ROOT
from tests.support.postgres import SUPERUSER, Postgres, running_postgres

PASSWORD = "Keeper-8361-94\n"
SERVICE_USER = 54321
AS_SERVICE_USER = [
    "setpriv", f"--reuid={SERVICE_USER}", f"--regid={SERVICE_USER}", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search",
]  # fmt: skip
"""Another user, who may read the checkout and Python wherever they are, and write nothing there."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
as_both_users = pytest.mark.parametrize(
    "machine", ["tester", pytest.param("service", marks=needs_root)], indirect=True
)
DEADLINE_S = 120


class Machine:
    """A machine on which the programs of the pages are those of the checkout."""

    def __init__(self, folder: Path, *, become: list[str]) -> None:
        """`become` is the command that runs another one as the user of the service."""
        self.folder = folder
        self._become = become
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
            "COCONOWORK_SERVER_PORT": "0",
            "COCONOWORK_SERVER_GATEWAY_PORT": "0",
        }
        self.replaced = {"/backups/": f"{folder}/"}
        self._services: dict[str, subprocess.Popen[str]] = {}

    def run(self, command: str, *, stdin: str = PASSWORD) -> str:
        """Run one command, which must succeed; return its output."""
        for written, real in self.replaced.items():
            command = command.replace(written, real)
        done = subprocess.run(
            [*self._become, "sh", "-ec", command],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            start_new_session=True,  # without a terminal, passwords are read from `stdin`
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def start(self, name: str) -> None:
        """Start a service, and return once it listens."""
        service = subprocess.Popen(
            [*self._become, "coconowork-server", "serve"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._services[name] = service
        assert service.stdout is not None
        assert any(line.startswith("gateway ") for line in service.stdout)

    def stop(self, name: str) -> None:
        """Stop a service, which must end in order."""
        service = self._services.pop(name)
        service.terminate()
        assert service.wait(timeout=DEADLINE_S) == 0
        assert service.stdout is not None
        service.stdout.close()

    def close(self) -> None:
        """Stop whatever still runs."""
        for name in list(self._services):
            self.stop(name)

    def accounts(self) -> set[str]:
        """Return the names of the accounts in the SQLite database."""
        with sqlite3.connect(self.folder / "data" / "coconowork.sqlite3") as database:
            found = {str(name) for (name,) in database.execute("SELECT name FROM console_account")}
        database.close()
        return found


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    is_service = getattr(request, "param", "tester") == "service"
    made = Machine(tmp_path, become=AS_SERVICE_USER if is_service else [])
    if is_service:
        os.chown(tmp_path, SERVICE_USER, SERVICE_USER)
    yield made
    made.close()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def shell(page: str) -> list[list[str]]:
    """Return the commands of a page's `sh` blocks."""
    return [lines(block) for block in blocks(ROOT / "docs" / page, "sh")]


@as_both_users
def test_backup_and_restore(machine: Machine) -> None:
    """docs/backup.md with SQLite: what was created after the backup is gone after the restore."""
    (_, backup), (_, restore, _) = shell("backup.md")[:2]
    machine.run("coconowork-server createadmin --account Before --user before")
    machine.start("server")
    machine.run(backup)
    machine.run("coconowork-server createadmin --account After --user after")
    machine.stop("server")
    machine.run(restore)
    assert machine.accounts() == {"Before"}
    database = machine.folder / "data" / "coconowork.sqlite3"
    assert database.stat().st_uid == machine.folder.stat().st_uid


@as_both_users
def test_postgresql(machine: Machine, postgres: Postgres) -> None:
    """docs/operations.md and backup.md: role, database, backup and restore on PostgreSQL."""
    machine.environment |= {
        "PGPORT": str(postgres.port),
        "PGUSER": SUPERUSER,
        "PGHOST": "127.0.0.1",
    }
    # The tests' superuser has the name of the role on the page.
    renamed = {
        "runuser -u postgres -- ": "",
        "coconowork": "role_of_the_page",
        "db.example": "127.0.0.1",
    }
    create = next(block for block in shell("operations.md") if "createuser" in block[0])
    machine.replaced = renamed
    for command in create:
        machine.run(command, stdin=PASSWORD * 2)
    with_password = "SELECT count(rolpassword) FROM pg_authid WHERE rolname = 'role_of_the_page'"
    assert postgres.execute(with_password) == [(1,)]
    machine.replaced = {}
    address = f"postgresql://role_of_the_page@127.0.0.1:{postgres.port}/role_of_the_page"
    machine.environment["COCONOWORK_SERVER_DATABASE"] = address
    machine.run("coconowork-server createadmin --account Before --user before")
    machine.replaced = renamed
    for command in shell("backup.md")[2] + shell("backup.md")[3]:
        machine.run(command)
    machine.environment["COCONOWORK_SERVER_DATABASE"] = address + "_restored"
    machine.start("server")
    machine.stop("server")
    with psycopg.connect(address + "_restored") as database:
        assert database.execute("SELECT name FROM console_account").fetchall() == [("Before",)]


def test_table_of_commands(machine: Machine) -> None:
    """docs/commands.md: each command of the server in the table runs."""
    machine.replaced = {
        "[--account NAME]": "--account name",
        "NAME": "name",
        "FILE": str(machine.folder / "copy.sqlite3"),
        "[--yes]": "--yes",
    }
    page = commands(ROOT / "docs" / "commands.md")
    table = [command for command in page if command.startswith("coconowork-server ")]
    table.remove("coconowork-server serve")
    table.remove("coconowork-server move-to postgresql://USER@HOST/NAME")
    table.remove("coconowork-server doctor [--output FILE]")  # which finds that no server runs
    assert len(table) == 10
    for command in table:
        machine.run(command, stdin="0ther-0ther\n" if "reset" in command else PASSWORD)
    assert "0.1" in machine.run("coconowork-client --version")


def test_single_commands(machine: Machine) -> None:
    """The secret key of docs/operations.md, and the sessions of docs/console.md."""
    [secret] = [each for each in commands(ROOT / "docs" / "operations.md") if "secrets" in each]
    assert len(machine.run(secret).strip()) >= 64
    machine.run("coconowork-server createadmin --account ACME --user admin")
    [clear] = [each for each in commands(ROOT / "docs" / "console.md") if "clearsessions" in each]
    machine.run(clear)
