"""Help commands that work on the database and talk to a person at a terminal."""

from __future__ import annotations

import getpass
import locale
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils import translation
from django.utils.translation import gettext as _

from protocol.names import normalise_password
from server import config
from server.cluster.database import describe, release
from server.commands.serve import prepare
from server.config import StartError

if TYPE_CHECKING:
    from server.console.models import Account, User


MAX_CHARS = 200
"""Most characters of a name that are kept and printed; validation refuses names of that length."""


@contextmanager
def on_database() -> Iterator[None]:
    """Prepare the settings' database, print its name, and use the terminal's language.

    Raise StartError, also for a ValidationError inside the block.
    """
    settings = config.load()
    prepare(settings)
    print(describe(settings))
    with translation.override(_language()):
        try:
            yield
        except ValidationError as exc:
            raise StartError(" ".join(exc.messages)) from None
        finally:
            release()


def find_user(typed: str) -> User:
    """Return the user of a typed name. Raise StartError."""
    from server.console.models import User

    try:
        return User.objects.get_by_natural_key(typed)
    except User.DoesNotExist:
        raise StartError(_("There is no user %(user)s.") % {"user": typed}) from None


def find_account(typed: str) -> Account | None:
    """Return the account of this exact name, else the only one in any width and case, or None."""
    from server.console.models import Account
    from server.console.search import fold

    exact = list(Account.objects.filter(name=typed.strip()))
    found = exact or [each for each in Account.objects.all() if fold(each.name) == fold(typed)]
    return found[0] if len(found) == 1 else None


def ask() -> None:
    """Ask whether to go on. Raise StartError unless the answer is yes."""
    from server.console.search import fold

    with suppress(EOFError, RuntimeError):  # nothing was typed, or there is no standard input
        if fold(input(_("Go on? [y/N] "))) in {"y", "yes", "はい"}:
            return
    raise StartError(_("Nothing was done."))


def ask_new_password(user: User) -> str:
    """Return a new password for `user`: typed twice at a terminal, else a line of standard input.

    Raise StartError, or ValidationError for a password that breaks the rules.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    else:
        password = getpass.getpass(_("Password: "))
        if password != getpass.getpass(_("Password again: ")):
            raise StartError(_("The two passwords are not the same."))
    if not password:
        raise StartError(_("A password is needed: type it, or give it on standard input."))
    password = normalise_password(password)
    validate_password(password, user)
    return password


def _language() -> str:
    """Return the terminal's language: Japanese, or else English."""
    category = getattr(locale, "LC_MESSAGES", locale.LC_CTYPE)  # Windows has no LC_MESSAGES
    name = locale.getlocale(category)[0] or ""
    return "ja" if name.startswith(("ja", "Japanese")) else "en"
