"""`createadmin`: make an account with its first administrator, or one more administrator."""

from __future__ import annotations

import argparse

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from protocol.text import clean
from server.commands.terminal import MAX_CHARS, ask_new_password, find_account, on_database
from server.config import StartError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options. The password is not one of them: other users can read command lines."""
    parser.add_argument("--account", required=True, help="the organisation, created if it is new")
    parser.add_argument("--user", required=True, help="user name of the administrator")
    parser.add_argument("--name", default="", help="the administrator's full name")


@on_database()
def run(arguments: argparse.Namespace) -> None:
    """Make the administrator. Raise StartError."""
    from server.console import audit, passwords, people
    from server.console.forms import UserForm
    from server.console.models import Account, User

    name = clean(arguments.account, MAX_CHARS)
    account = find_account(name) or Account(name=name)
    role = User.Role.ADMINISTRATOR
    form = UserForm({"username": arguments.user, "display_name": arguments.name, "role": role})
    if not form.is_valid():
        raise ValidationError(form.errors.as_data())
    user = form.user_of(account)
    if refusal := people.name_refusal(user, by=None):
        raise StartError(refusal)
    account.full_clean()
    password = ask_new_password(user)
    passwords.set_initial(user, password, must_change=False)
    with transaction.atomic():
        account.save()
        user.account = account
        user.save()
        audit.record(audit.Action.USER_CREATED, subject=user)
    print(
        _("Administrator %(user)s of %(account)s has been created.")
        % {"user": user.username, "account": account.name}
    )
