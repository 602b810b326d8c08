"""Use the console by Django's test client, on the real database, without HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.test import Client

from server.console import passwords
from server.console.models import AuditEvent, PasswordChange, User
from tests.support.server_fixtures import on_own_connection

T = TypeVar("T")
Browse = Callable[..., Client]
"""The type of the fixture `browse`."""


def new_client(*, address: str = "127.0.0.1", language: str = "en", csrf: bool = False) -> Client:
    """Return a browser that is not logged in."""
    return Client(
        enforce_csrf_checks=csrf,
        headers={"accept-language": language},
        SERVER_NAME="localhost",
        REMOTE_ADDR=address,
    )


def page(answer: Any) -> str:
    """Return the text of an answer's page. The status must be 200."""
    assert answer.status_code == 200
    return str(answer.getvalue().decode())


def form_token(client: Client, path: str) -> dict[str, str]:
    """Open a page. Return its CSRF token as a form field."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page(client.get(path)))
    assert found
    return {"csrfmiddlewaretoken": found[1]}


def run_before(
    patch: pytest.MonkeyPatch, module: object, name: str, happens: Callable[..., object]
) -> list[object]:
    """Patch a function to call `happens` first, with its arguments. Return the list of results."""
    original, results = getattr(module, name), list[object]()

    def late(*args: Any, **more: Any) -> Any:
        results.append(happens(*args, **more))
        return original(*args, **more)

    patch.setattr(module, name, late)
    return results


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Call each of `works` on its own thread at once. Return their results."""
    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(on_own_connection, works))


def change(user: User, new: str, **more: Any) -> PasswordChange:
    """Change a user's password, even if the user's row has changed since `user` was read."""
    user.refresh_from_db()
    return passwords.change_own(user, new_password=new, **more)


def actions(subject: User) -> list[str]:
    """Return the actions on a user in the audit trail, the latest first."""
    return list(AuditEvent.objects.filter(subject=subject).values_list("action", flat=True))
