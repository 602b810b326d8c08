"""Run the server's command line; each command is a module in `server.commands`."""

from __future__ import annotations

import argparse
import importlib
import io
import locale
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from server.config import StartError

COMMANDS = {
    "serve": ("server.commands.serve", "run console and gateway"),
    "createadmin": ("server.commands.createadmin", "create an account administrator"),
    "migrate": ("server.commands.migrate", "bring the database up to date"),
    "reset-password": ("server.commands.reset_password", "set a user's password"),
    "users": ("server.commands.users", "list, rename, disable, enable and unlock users"),
    "move-to": ("server.commands.move_to", "move from SQLite to PostgreSQL"),
    "backup": ("server.commands.backup", "copy the database while the server runs"),
    "restore": ("server.commands.restore", "replace the database by a copy"),
    "doctor": ("server.commands.doctor", "check settings, database, proxy, certificate and more"),
}
"""Modules with `add_arguments(parser)` and `run(arguments)`, which may return an exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return 0 for success, 1 for a failure, 2 for wrong usage."""
    with suppress(locale.Error):  # LANG may name a locale that this machine does not have
        locale.setlocale(locale.LC_ALL, "")
    parser = argparse.ArgumentParser(
        prog="coconowork-server",
        description="The coconowork server. Settings: COCONOWORK_SERVER_* in the environment, "
        "or the TOML file that COCONOWORK_SERVER_CONFIG names.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        importlib.import_module(module).add_arguments(command)
    given = sys.argv[1:] if arguments is None else arguments
    if any("\udc80" <= char <= "\udcff" for each in given for char in each):
        parser.error("an argument has bytes that are no text in this terminal's character set")
    chosen = parser.parse_args(given)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    try:
        code = int(importlib.import_module(COMMANDS[chosen.command][0]).run(chosen) or 0)
        print(end="", flush=True)
    except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except StartError as exc:
        print(f"coconowork-server: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    else:
        return code


if __name__ == "__main__":
    sys.exit(main())
