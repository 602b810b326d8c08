"""`createadmin`: make an account with its first administrator, or one more administrator."""

from __future__ import annotations

import argparse
import getpass
import locale
import sys

from server import config
from server.cluster.database import describe, release
from server.commands.serve import prepare
from server.config import StartError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; none takes the password, which other users of the machine could read."""
    parser.add_argument("--account", required=True, help="the organisation, created if it is new")
    parser.add_argument("--user", required=True, help="user name of the administrator")
    parser.add_argument("--name", default="", help="the administrator's full name")


def run(arguments: argparse.Namespace) -> int:
    """Make the administrator and return the exit code. Raise StartError."""
    settings = config.load()
    prepare(settings)
    print(describe(settings))
    from django.utils import translation

    try:
        with translation.override(language()):
            _create(arguments.account.strip(), arguments.user.strip(), arguments.name.strip())
    finally:
        release()
    return 0


def _create(account_name: str, username: str, display_name: str) -> None:
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError
    from django.db import transaction
    from django.utils.translation import gettext as _

    from protocol.names import normalise_password
    from server.console import audit, new_users, passwords
    from server.console.forms import UserForm
    from server.console.models import Account, User

    account = Account.objects.filter(name=account_name).first() or Account(name=account_name)
    role = User.Role.ADMINISTRATOR
    form = UserForm({"username": username, "display_name": display_name, "role": role})
    if not form.is_valid():
        raise StartError(" ".join(str(text) for texts in form.errors.values() for text in texts))
    user = form.user_of(account)
    if refusal := new_users.name_refusal(user, by=None, address=None):
        raise StartError(refusal)
    try:
        account.full_clean()
        password = normalise_password(ask_password())
        validate_password(password, user)
    except ValidationError as exc:
        raise StartError(" ".join(exc.messages)) from None
    passwords.set_initial(user, password, must_change=False)
    with transaction.atomic():
        account.save()
        user.account = account
        user.save()
        audit.record(audit.Action.USER_CREATED, actor=None, subject=user, address=None)
    print(
        _("Administrator %(user)s of %(account)s has been created.")
        % {"user": user.username, "account": account.name}
    )


def ask_password() -> str:
    """Ask twice at a terminal, else read one line of standard input. Raise StartError."""
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


def language() -> str:
    """Return the terminal's language: Japanese, or else English."""
    category = getattr(locale, "LC_MESSAGES", locale.LC_CTYPE)  # Windows has no LC_MESSAGES
    name = locale.getlocale(category)[0] or ""
    return "ja" if name.startswith(("ja", "Japanese")) else "en"
