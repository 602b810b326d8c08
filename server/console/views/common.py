"""Functions that the views share: who asks, from where, forms, live parts, and paging."""

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
"""Keys of a list that one query fetches; for more, PostgreSQL would sort all that match."""
AT_ONCE_IN_SEARCH = 5_000
"""The same for a search, which reads every row in any case."""


def user_of(request: HttpRequest) -> User:
    """Return the user who is logged in, in a view that needs a login."""
    return cast("User", request.user)


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address, which `http.py` has found out."""
    return request.META.get("REMOTE_ADDR")


def _check_administrator(user: Any) -> bool:
    if not user.is_administrator:
        raise PermissionDenied
    return True


administrators_only = user_passes_test(_check_administrator)
"""Wrap a view: refuse general users."""


def managed_user(request: HttpRequest, pk: int) -> User:
    """Return a user of the administrator's own account. Raise Http404, or PermissionDenied."""
    by = user_of(request)
    _check_administrator(by)
    return get_object_or_404(User, pk=pk, account=by.account_id)


def whose(request: HttpRequest, pk: int | None) -> tuple[User, str]:
    """Return the user of a page, the own one or the managed one, and where the page leads back."""
    user = user_of(request) if pk is None else managed_user(request, pk)
    return user, back_to(request, reverse("home") if pk is None else reverse("user", args=[pk]))


def frame(request: HttpRequest) -> dict[str, str]:
    """Return what a page extends, in the console or on the smartphone, and where it leads back."""
    if in_app(request):
        return {"base": "console/app_base.html", "back": reverse("app")}
    return {"base": "console/base.html", "back": reverse("home")}


def back_to(request: HttpRequest, default: str) -> str:
    """Return the page of this site that has led here (`?next=`), or `default`."""
    wanted = request.GET.get("next", "")
    is_ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if is_ours else default


def leading_back(request: HttpRequest, address: str) -> str:
    """Return `address` with the page that has led here, so that it leads back, too."""
    wanted = back_to(request, "")
    return f"{address}?{urlencode({'next': wanted})}" if wanted else address


def posted(request: HttpRequest) -> QueryDict | None:
    """Return the data of a form that was sent, even if it is empty, else None."""
    return request.POST if request.method == "POST" else None


def live(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Send a part of a page as it is now, or 304 when the script has shown this version already."""
    # The hour, because the part may say that a time has passed.
    facts = [context, get_language(), f"{clock.now():%Y-%m-%d %H}"]
    content = json.dumps(facts, default=_plain)
    version = hashlib.sha256(content.encode()).hexdigest()[:32]
    if request.headers.get("If-None-Match") == version:
        return HttpResponse(status=304)
    html = render_to_string(template, context, request)
    return JsonResponse({"html": html, "version": version})


def live_page(request: HttpRequest, template: str, part: str, **context: Any) -> HttpResponse:
    """Send a page, or only its live part when the page's script asks for that."""
    if is_poll(request):
        return live(request, part, **context)
    return render(request, template, context)


def _plain(value: Any) -> object:
    """Return what a row, a page of rows or a set holds, for JSON."""
    if isinstance(value, Model) or is_dataclass(value):
        return {name: each for name, each in vars(value).items() if not name.startswith("_")}
    if isinstance(value, Page | QuerySet):
        return list(value)
    return sorted(value) if isinstance(value, set) else str(value)


def confirm(request: HttpRequest, **context: Any) -> HttpResponse:
    """Ask before an action. Context: title, texts, button, cancel (an address)."""
    return render(request, "console/confirm.html", context)


def page_of(
    request: HttpRequest,
    rows: QuerySet[Any, Any],
    *,
    key: str = "pk",
    shown: QuerySet[Any, Any] | None = None,
) -> Page[Any]:
    """Return the page that `?page=` names, or the nearest one.

    `key` is a unique column. When an index has it together with the order of the rows, the database
    does not read the rows before the page. No count is made of up to `AT_ONCE` rows, so that a
    search (`?q=`) with few results reads all rows once, not twice. `shown` is `rows` without the
    filter, for a filter that takes time.
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

    Rows of the database come from `each_of`, in the view's thread, one part after the other.
    """

    def __init__(
        self, name: str, columns: Mapping[str, Callable[[T], str]], rows: Iterable[T]
    ) -> None:
        """Name the file by `name` and today's date. `columns` maps titles to functions of cells."""
        lines = ([cell(row) for cell in columns.values()] for row in rows)
        content = csvfiles.parts(chain([list(columns)], lines))
        super().__init__(content, content_type="text/csv; charset=utf-8")
        name = f"{name}-{timezone.localtime(clock.now()):%Y%m%d}.csv"
        self.headers["Content-Disposition"] = f'attachment; filename="{name}"'

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts to the server; Django would collect all of them first."""
        rest = iter(self)
        while part := await sync_to_async(lambda: next(rest, b""))():
            yield part


def each_of(rows: QuerySet[M]) -> Iterator[M]:
    """Yield `rows`, some at a time: a slow reader must not keep a statement open."""
    keys = list(rows.values_list("pk", flat=True))
    for start in range(0, len(keys), AT_ONCE):
        yield from rows.filter(pk__in=keys[start : start + AT_ONCE])


def list_context(request: HttpRequest, form: Form, page: Page[Any]) -> dict[str, Any]:
    """Return what a page with a filter and a list shows of both; `query` is for links to pages."""
    query: QueryDict = request.GET.copy()
    query.pop("page", None)
    return {
        "form": form,
        "page": page,
        "query": f"{query.urlencode()}&" if query else "",
        "filtered": any(request.GET.get(name) for name in form.fields),
    }
