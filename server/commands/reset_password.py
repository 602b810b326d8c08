"""`reset-password`: set a user's password when no administrator can do it in the console.

Like a forced change, this pushes nothing: clients go on with the old password.
"""

from __future__ import annotations

import argparse

from django.utils.translation import gettext as _

from server.commands.terminal import ask, ask_new_password, find_user, on_database


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options. The password is not one of them: other users can read command lines."""
    parser.add_argument("--user", required=True, help="user name")
    parser.add_argument("--yes", action="store_true", help="do not ask before the change")


@on_database()
def run(arguments: argparse.Namespace) -> None:
    """Ask for confirmation and for the password, and set the password. Raise StartError."""
    from server.console import passwords

    found = find_user(arguments.user)
    names = {"user": found.username, "account": found.account.name}
    print(_("This sets a new password for %(user)s of %(account)s.") % names)
    print(_("PCs go on with the old password for 30 days, until it is updated there."))
    if not arguments.yes:
        ask()
    password = ask_new_password(found)
    passwords.force(found, by=None, new_password=password, must_change=False)
    print(_("The password was changed."))
