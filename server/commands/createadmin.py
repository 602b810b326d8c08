"""`createadmin`: an account with its first administrator, or one more for an account."""

from __future__ import annotations

import argparse
import getpass
import locale
import sys

from server import config
from server.cluster.database import let_go
from server.commands.serve import StartError, prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No option takes the password: other users of the machine could read it."""
    parser.add_argument("--account", required=True, help="the organisation; made when it is new")
    parser.add_argument("--user", required=True, help="user name of the administrator")
    parser.add_argument("--name", default="", help="the administrator's full name")


def run(arguments: argparse.Namespace) -> int:
    """Make the administrator; the exit code. Raise StartError for what cannot be."""
    prepare(config.load())
    from django.utils import translation

    try:
        with translation.override(_language()):
            _create(arguments.account.strip(), arguments.user.strip(), arguments.name.strip())
    finally:
        let_go()
    return 0


def _create(account_name: str, username: str, display_name: str) -> None:
    from django.contrib.auth.password_validation import (
        validate_password,
    )
    from django.core.exceptions import ValidationError
    from django.db import transaction
    from django.utils.translation import gettext as _

    from server.console import audit, passwords
    from server.console.models import Account, User

    account = Account.objects.filter(name=account_name).first() or Account(name=account_name)
    user = User(
        account=account,
        username=User.normalize_username(username),
        display_name=display_name,
        role=User.Role.ADMINISTRATOR,
    )
    try:
        account.full_clean()
        user.full_clean(exclude=["account", "password"])
        password = _ask_password()
        validate_password(password, user)
        passwords.set_initial(user, password, must_change=False)
    except ValidationError as exc:
        raise StartError(" ".join(exc.messages)) from None
    except passwords.UnusablePassword as exc:
        raise StartError(str(exc)) from None
    with transaction.atomic():
        account.save()
        user.account = account
        user.save()
        audit.record(audit.Action.USER_CREATED, actor=None, subject=user, address=None)
    print(
        _("Administrator %(user)s of %(account)s has been created.")
        % {"user": user.username, "account": account.name}
    )


def _ask_password() -> str:
    """Twice at a terminal; else one line of standard input. Raise StartError."""
    from django.utils.translation import gettext as _

    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(_("Password: "))
        if password != getpass.getpass(_("Password again: ")):
            raise StartError(_("The two passwords are not the same."))
    if not password:
        raise StartError(_("A password is needed: type it, or give it on standard input."))
    return password


def _language() -> str:
    """The terminal's: Japanese, or else English."""
    name = locale.getlocale(locale.LC_MESSAGES)[0] or ""
    return "ja" if name.startswith(("ja", "Japanese")) else "en"
