"""The options of the command line, explained in the user's language."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from agent import __version__
from protocol.text import N_

ARGPARSE_WORDS = (
    N_("usage: "),
    N_("positional arguments"),
    N_("options"),
    N_("show this help message and exit"),
    N_("%(prog)s: error: %(message)s\n"),
    N_("argument %(argument_name)s: %(message)s"),
    N_("expected one argument"),
    N_("not allowed with argument %s"),
    N_("ignored explicit argument %r"),
    N_("invalid choice: %(value)r (choose from %(choices)s)"),
    N_("unrecognized arguments: %s"),
)
"""Texts of argparse that this command line can show."""


def parse(arguments: list[str], _: Callable[[str], str]) -> argparse.Namespace:
    """Return the options. Exit with 2 on wrong usage, with 0 after `--help` and `--version`."""
    vars(argparse)["_"] = _  # argparse translates its texts by this function
    parser = argparse.ArgumentParser(
        prog="coconowork-client",
        description=_("Keeps this PC reachable through coconowork."),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help=_("print the version")
    )
    parser.set_defaults(command="run", autostart=False)
    commands = parser.add_subparsers(metavar=_("command"))

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=help_text, description=help_text, allow_abbrev=False
        )
        command.set_defaults(command=name)
        return command

    run = add("run", _("be the client, in the notification area (the default)"))
    run.add_argument("--autostart", action="store_true", help=argparse.SUPPRESS)
    status = add("status", _("say what the running client does"))
    status.add_argument("--json", action="store_true", help=_("for programs"))
    login = add("login", _("log in and store the password (asked for, or from standard input)"))
    server = _("such as gw.example.com or wss://gw.example.com:8443")
    login.add_argument("--server", metavar=_("ADDRESS"), help=server)
    who = login.add_mutually_exclusive_group()
    who.add_argument("--user", metavar=_("NAME"), help=_("user name"))
    who.add_argument("--code", action="store_true", help=_("show a code to type in the console"))
    add("update-password", _("update the stored password (asked for, or from standard input)"))
    add("logout", _("forget the stored password"))
    leave = add("quit", _("end the running client"))
    leave.add_argument("--update", action="store_true", help=_("because of an update"))
    add("doctor", _("find out what keeps the client from waiting"))
    return parser.parse_args(arguments)
