"""`users`: list, rename, disable or enable accounts and users, and unlock a user.

Each change has the same effect as in the console, but its audit event names no author.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from protocol.text import clean
from server.commands.terminal import MAX_CHARS, ask, find_account, find_user, on_database
from server.config import StartError

if TYPE_CHECKING:
    from server.console.models import Account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions. All but `list` and `unlock` take either a user or a whole account."""
    actions = parser.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="list the accounts, or the users of one")
    listed.add_argument("--account", help="list its users")
    for name, summary in (
        ("rename", "set the name of an account, or the full name of a user"),
        ("disable", "log a user, or all of an account, out everywhere, and refuse their logins"),
        ("enable", "accept logins again, of an account those that were disabled with it"),
        ("unlock", "forget a user's wrong passwords at the console and at PCs"),
    ):
        action = actions.add_parser(name, help=summary, description=summary)
        which = action if name == "unlock" else action.add_mutually_exclusive_group(required=True)
        which.add_argument("--user", required=name == "unlock", help="user name")
        if name != "unlock":
            which.add_argument("--account", help="name of the account")
        if name == "rename":
            action.add_argument("--to", required=True, help="the new name")
        if name == "disable":
            action.add_argument("--yes", action="store_true", help="do not ask before it")


@on_database()
def run(arguments: argparse.Namespace) -> None:
    """Run the chosen action. Raise StartError."""
    {"list": _list, "rename": _rename, "unlock": _unlock}.get(arguments.action, _switch)(arguments)


def _list(arguments: argparse.Namespace) -> None:
    from server.console.models import Account

    if arguments.account is not None:
        for user in _account(arguments.account).users.iterator():
            state = "" if user.is_active else _("Disabled")
            name = clean(user.display_name, MAX_CHARS)
            cells = (user.username, str(user.get_role_display()), name, state)
            print("\t".join(cells).rstrip())
        return
    counts = {"all": Count("users"), "enabled": Count("users", filter=Q(users__is_active=True))}
    for account in Account.objects.annotate(**counts).order_by("name").values():
        account["name"] = clean(account["name"], MAX_CHARS)
        print(_("%(name)s\t%(enabled)d of %(all)d users enabled") % account)


def _rename(arguments: argparse.Namespace) -> None:
    from server.console import people
    from server.console.audit import Action, record
    from server.console.forms import EditUserForm

    if arguments.user is not None:
        user = find_user(arguments.user)
        form = EditUserForm({"display_name": arguments.to, "role": user.role})
        if not form.is_valid():
            raise ValidationError(form.errors.as_data())
        people.edit(user, by=None, **form.cleaned_data)
    else:
        account = _account(arguments.account)
        account.name = clean(arguments.to, MAX_CHARS)
        account.full_clean()
        with transaction.atomic():
            account.save(update_fields=["name"])
            event, name = Action.ACCOUNT_RENAMED, account.name
            record(event, account=account, name=name)
    print(_("The name was changed."))


def _switch(arguments: argparse.Namespace) -> None:
    from server.console import people

    change = people.DISABLE if arguments.action == "disable" else people.ENABLE
    whole_account, left = arguments.user is None, 0
    if whole_account:
        account = _account(arguments.account)
        users = account.users.filter(change.of)
        if change is people.ENABLE:
            left, users = users.count(), people.disabled_with_account(account)
            left -= users.count()
    else:
        user = find_user(arguments.user)
        users = user.account.users.filter(change.of, pk=user.pk)
    print(_("Users to change: %(count)d") % {"count": users.count()})
    if change is people.DISABLE and not arguments.yes:
        print(_("They are logged out everywhere, and their clients cannot log in any more."))
        ask()
    if left:
        print(
            _("Users who stay disabled, because they were so before: %(count)d") % {"count": left}
        )
    people.apply_to_all(change, users, whole_account=whole_account)
    print(_("Done."))


def _unlock(arguments: argparse.Namespace) -> None:
    from server.console import lockout

    lockout.unlock(find_user(arguments.user))
    print(_("The user was unlocked."))


def _account(name: str) -> Account:
    found = find_account(name)
    if found is None:
        raise StartError(_("There is no account %(account)s.") % {"account": name})
    return found
