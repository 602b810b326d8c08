"""What the views share."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.debug import sensitive_post_parameters

from server.console.models import User
from server.console.views.problems import forbidden

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

AT_ONCE = 500
"""Keys of a list that are fetched together: of more, PostgreSQL sorts all that match."""
AT_ONCE_IN_SEARCH = 5_000
"""The same where text is looked for, which takes a look at every row anyway."""

hide_passwords = sensitive_post_parameters(
    "password", "current_password", "new_password1", "new_password2"
)
"""Keeps the fields out of any report about an error."""


def user_of(request: HttpRequest) -> User:
    """Who is logged in; only for views that need a login."""
    return cast("User", request.user)


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address; `asgi.py` has put it right for a trusted proxy."""
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None


def administrators_only(view: View[P]) -> View[P]:
    """Refuse general users."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not user_of(request).is_administrator:
            return forbidden(request)
        return view(request, *args, **kwargs)

    return guarded


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: nothing unless it was sent, even if it was sent empty."""
    return request.POST if request.method == "POST" else None


def live(request: HttpRequest, template: str, **context: Any) -> JsonResponse:
    """A part of a page as it is now, for the script that keeps it up to date."""
    return JsonResponse({"html": render_to_string(template, context, request)})


def confirm(request: HttpRequest, **context: Any) -> HttpResponse:
    """Ask before a deed. Context: title, texts, button, cancel (an address)."""
    return render(request, "console/confirm.html", context)


def page_of(
    request: HttpRequest,
    rows: QuerySet[Any, Any],
    *,
    size: int,
    key: str = "pk",
    shown: QuerySet[Any, Any] | None = None,
) -> Page[Any]:
    """The page that `?page=` names; the nearest one when there is none such.

    `key` is a unique column. Where an index has it and what the rows are ordered by, the rows
    before the page are not read. What is no more than `AT_ONCE` is not counted: a search (`?q=`)
    for something rare goes through all rows once, not twice. `shown` is `rows` without what chooses
    them, where that takes time.
    """
    at_once = AT_ONCE_IN_SEARCH if request.GET.get("q") else AT_ONCE
    keys = rows.values_list(key, flat=True)
    first = list(keys[: at_once + 1])
    pages = Paginator(keys, size)
    if len(first) <= at_once:
        pages.count = len(first)
    page = pages.get_page(request.GET.get("page"))
    here = first[page.start_index() - 1 : page.end_index()] if page.end_index() <= at_once else []
    of_page = {f"{key}__in": here or list(page.object_list)}
    page.object_list = (rows if shown is None else shown).filter(**of_page)
    return page


def without_page(request: HttpRequest) -> str:
    """The query of this request for the links to other pages: `q=…&` or nothing."""
    query: QueryDict = request.GET.copy()
    query.pop("page", None)
    return f"{query.urlencode()}&" if query else ""
