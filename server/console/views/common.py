"""Help all views: the request's user and address, forms, live parts, paging, CSV files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from itertools import chain
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import user_passes_test
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import get_language

from server import clock
from server.console import csvfiles
from server.console.models import User
from server.console.paths import in_app, is_poll

M = TypeVar("M", bound=Model)
T = TypeVar("T")

PAGE_SIZE = 50
"""Rows of a list on one page."""
AT_ONCE = 500
"""Most keys of a list that one query fetches; for more, PostgreSQL would sort all matches."""
AT_ONCE_IN_SEARCH = 5_000
"""As `AT_ONCE`, for a search, which reads every row anyway."""


def user_of(request: HttpRequest) -> User:
    """Return the user who is logged in, in a view that needs a login."""
    return cast("User", request.user)


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address, which `http.py` has determined."""
    return request.META.get("REMOTE_ADDR")


def _check_administrator(user: Any) -> bool:
    if not user.is_administrator:
        raise PermissionDenied
    return True


administrators_only = user_passes_test(_check_administrator)
"""Decorator of a view: raise PermissionDenied for general users."""


def managed_user(request: HttpRequest, pk: int) -> User:
    """Return a user of the administrator's own account. Raise Http404, or PermissionDenied."""
    by = user_of(request)
    _check_administrator(by)
    return get_object_or_404(User, pk=pk, account=by.account_id)


def whose(request: HttpRequest, pk: int | None) -> tuple[User, str]:
    """Return the page's user (`pk`, or None for the own page), and the address to return to."""
    user = user_of(request) if pk is None else managed_user(request, pk)
    return user, back_to(request, reverse("home") if pk is None else reverse("user", args=[pk]))


def frame(request: HttpRequest) -> dict[str, str]:
    """Return a page's base template and return address, in the console or on the smartphone."""
    if in_app(request):
        return {"base": "console/app_base.html", "back": reverse("app")}
    return {"base": "console/base.html", "back": reverse("home")}


def back_to(request: HttpRequest, default: str) -> str:
    """Return the page of this site that linked here (`?next=`), or `default`."""
    wanted = request.GET.get("next", "")
    is_ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if is_ours else default


def leading_back(request: HttpRequest, address: str) -> str:
    """Return `address` with this request's `?next=`, if it has one."""
    wanted = back_to(request, "")
    return f"{address}?{urlencode({'next': wanted})}" if wanted else address


def posted(request: HttpRequest) -> QueryDict | None:
    """Return the data of a form that was sent (even empty data), or None for other requests."""
    return request.POST if request.method == "POST" else None


def live(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Send the present state of a part of a page, or 304 if the browser shows this version."""
    # Include the hour, because the part may depend on the time.
    facts = [context, get_language(), f"{clock.now():%Y-%m-%d %H}"]
    content = json.dumps(facts, default=_plain)
    version = hashlib.sha256(content.encode()).hexdigest()[:32]
    if request.headers.get("If-None-Match") == version:
        return HttpResponse(status=304)
    html = render_to_string(template, context, request)
    return JsonResponse({"html": html, "version": version})


def live_page(request: HttpRequest, template: str, part: str, **context: Any) -> HttpResponse:
    """Send a page, or only its live part when the page's script polls."""
    if is_poll(request):
        return live(request, part, **context)
    return render(request, template, context)


def _plain(value: Any) -> object:
    """Return the content of a row, a page of rows or a set, for JSON."""
    if isinstance(value, Model) or is_dataclass(value):
        return {name: each for name, each in vars(value).items() if not name.startswith("_")}
    if isinstance(value, Page | QuerySet):
        return list(value)
    return sorted(value) if isinstance(value, set) else str(value)


def confirm(request: HttpRequest, **context: Any) -> HttpResponse:
    """Ask before an action. `context` has title, texts, button and cancel (an address)."""
    return render(request, "console/confirm.html", context)


def page_of(
    request: HttpRequest,
    rows: QuerySet[Any, Any],
    *,
    key: str = "pk",
    shown: QuerySet[Any, Any] | None = None,
) -> Page[Any]:
    """Return the page that `?page=` names, or the nearest one.

    `key` is a unique column. If an index has this column and the rows' order, the database does not
    read the rows before the page. Up to `AT_ONCE` rows are not counted by a query, so a search
    (`?q=`) with few results reads all rows once, not twice. `shown` is `rows` without the filter,
    if the filter is slow.
    """
    at_once = AT_ONCE_IN_SEARCH if request.GET.get("q") else AT_ONCE
    keys = rows.values_list(key, flat=True)
    first = list(keys[: at_once + 1])
    pages = Paginator(keys, PAGE_SIZE)
    if len(first) <= at_once:
        pages.count = len(first)
    page = pages.get_page(request.GET.get("page"))
    here = first[page.start_index() - 1 : page.end_index()] if page.end_index() <= at_once else []
    of_page = {f"{key}__in": here or list(page.object_list)}
    page.object_list = (rows if shown is None else shown).filter(**of_page)
    return page


class CsvResponse(StreamingHttpResponse):
    """A file for spreadsheets, with a line for each of `rows`, sent in parts while it is made.

    Take rows of the database from `each_of`, which reads some at a time.
    """

    def __init__(
        self, name: str, columns: Mapping[str, Callable[[T], str]], rows: Iterable[T]
    ) -> None:
        """Name the file by `name` and today's date. `columns` maps titles to functions of a row."""
        lines = ([cell(row) for cell in columns.values()] for row in rows)
        content = csvfiles.parts(chain([list(columns)], lines))
        super().__init__(content, content_type="text/csv; charset=utf-8")
        name = f"{name}-{timezone.localtime(clock.now()):%Y%m%d}.csv"
        self.headers["Content-Disposition"] = f'attachment; filename="{name}"'

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts one by one; Django would collect all of them first."""
        rest = iter(self)
        while part := await sync_to_async(lambda: next(rest, b""))():
            yield part


def each_of(rows: QuerySet[M]) -> Iterator[M]:
    """Yield `rows`, some at a time: a slow reader must not keep a statement open."""
    keys = list(rows.values_list("pk", flat=True))
    for start in range(0, len(keys), AT_ONCE):
        yield from rows.filter(pk__in=keys[start : start + AT_ONCE])


def list_context(request: HttpRequest, form: Form, page: Page[Any]) -> dict[str, Any]:
    """Return the context for a filter and a list's page; `query` is for links to other pages."""
    query: QueryDict = request.GET.copy()
    query.pop("page", None)
    return {
        "form": form,
        "page": page,
        "query": f"{query.urlencode()}&" if query else "",
        "filtered": any(request.GET.get(name) for name in form.fields),
    }
