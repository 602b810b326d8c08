"""The options of the command line, explained in the user's language."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from agent import __version__


def parse(arguments: list[str], _: Callable[[str], str]) -> argparse.Namespace:
    """Return the options. Exit with 2 on wrong usage, with 0 after `--help` and `--version`."""
    parser = argparse.ArgumentParser(
        prog="coconowork-client", description=_("Keeps this PC reachable through coconowork.")
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command="run", autostart=False)
    commands = parser.add_subparsers(metavar=_("command"))

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.set_defaults(command=name)
        return command

    run = add("run", _("be the client, in the tray (the default)"))
    run.add_argument("--autostart", action="store_true", help=argparse.SUPPRESS)
    status = add("status", _("say what the running client does"))
    status.add_argument("--json", action="store_true", help=_("for programs"))
    login = add("login", _("log in and store the password (asked for, or from standard input)"))
    login.add_argument("--server", help=_("such as gw.example.com or wss://gw.example.com:8443"))
    login.add_argument("--user", help=_("user name"))
    add("update-password", _("update the stored password (asked for, or from standard input)"))
    add("logout", _("forget the stored password"))
    leave = add("quit", _("end the running client"))
    leave.add_argument("--update", action="store_true", help=_("because of an update"))
    add("doctor", _("find out what keeps the client from waiting"))
    dialog = commands.add_parser("dialog")
    dialog.add_argument("name")
    dialog.set_defaults(command="dialog")
    return parser.parse_args(arguments)
