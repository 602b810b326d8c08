"""Serve 「ユーザ管理」: the list, one user, and the actions of an administrator on a user."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, F, Max, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from server import clock
from server.cluster import bus
from server.console import audit, new_users, passwords, presence, temporary_passwords
from server.console.events import PageAction
from server.console.forms import ForcePasswordForm, UserFilterForm, UserForm
from server.console.models import Account, AuditEvent, Device, PasswordChange, User
from server.console.resubmission import repeatable
from server.console.search import contains
from server.console.validators import reuse_rule_text
from server.console.views import reports
from server.console.views.common import (
    administrators_only,
    client_address,
    confirm,
    hide_passwords,
    page_of,
    posted,
    user_of,
    without_page,
)
from server.console.views.password import end_old_of
from server.console.views.pcs import set_blocked

PAGE_SIZE = 50
RECENT_EVENTS = 10


def _listed(account_id: int, form: UserFilterForm) -> QuerySet[User]:
    """Return the account's users that match the filter."""
    users = User.objects.filter(account=account_id)
    if not form.is_valid():
        return users.none()
    state = form.cleaned_data["state"]
    users = users.filter(contains("search", form.cleaned_data["q"]))
    devices = Device.objects.filter(blocked_at__isnull=True)
    # Not EXISTS, for which SQLite reads each user's PCs in turn.
    if state == "waiting":
        users = users.filter(pk__in=devices.waiting().values("user"))
    elif state == "old":
        users = users.filter(pk__in=devices.on_old_password().values("user"))
    elif state == "temporary":
        users = users.filter(must_change_password=True)
    elif state == "disabled":
        users = users.filter(is_active=False)
    return users


@dataclass(frozen=True)
class _Row:
    """A user, with a summary of all of the user's PCs."""

    user: User
    waiting: bool = False
    valid_until: datetime | None = None
    """The first end of an old password that a PC has."""
    last_seen: datetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.valid_until is not None and self.valid_until <= clock.now()

    @property
    def days_left_text(self) -> str:
        return presence.days_left_text(self.valid_until) if self.valid_until else ""


def _rows(users: Collection[User]) -> list[_Row]:
    """Return the rows of these users, in the same order."""
    pcs = (
        Device.objects.filter(user__in=users, blocked_at__isnull=True)
        .order_by()
        .values("user")
        .annotate(
            waiting=Count("pk", filter=Device.objects.waits()),
            valid_until=Min("login_valid_until", filter=Device.objects.is_on_old_password()),
            last_seen=Max("last_seen_at"),
        )
    )
    said = {each["user"]: each for each in pcs}
    return [
        _Row(user, bool(pc["waiting"]), pc["valid_until"], pc["last_seen"]) if pc else _Row(user)
        for user, pc in ((user, said.get(user.pk)) for user in users)
    ]


@administrators_only
@require_safe
def user_list(request: HttpRequest) -> HttpResponseBase:
    """Show all users of the account, with search and paging."""
    form = UserFilterForm(request.GET)
    users = _listed(user_of(request).account_id, form)
    shown = User.objects.all()
    page = page_of(request, users, size=PAGE_SIZE, key="username", shown=shown)
    context = {
        "form": form,
        "page": page,
        "rows": _rows(list(page)),
        "query": without_page(request),
        "filtered": any(request.GET.get(name) for name in form.fields),
    }
    return render(request, "console/users.html", context)


def _user(request: HttpRequest, pk: int) -> User:
    """Return a user of the administrator's own account. Raise Http404 for all others."""
    return get_object_or_404(User, pk=pk, account=user_of(request).account_id)


@hide_passwords
@administrators_only
@require_http_methods(["GET", "HEAD", "POST"])
def user_detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show one user, with the form that forces a new password."""
    user, by = _user(request, pk), user_of(request)
    own = user.pk == by.pk
    form = ForcePasswordForm(posted(request), user=user)
    if request.method == "POST" and own:
        return redirect("password")
    if request.method == "POST" and form.is_valid():
        change = _force(request, form)
        if change is not None:
            return redirect("user-changed", pk=user.pk, change_id=change.pk)
    events = AuditEvent.objects.filter(subject=user)[:RECENT_EVENTS]
    context = {
        "person": user,
        "own": own,
        "form": form,
        "pcs": presence.pcs_of(user),
        "old_valid_until": passwords.old_valid_until(user),
        "rows": reports.readable(events),
    }
    return render(request, "console/user.html", context)


def _force(request: HttpRequest, form: ForcePasswordForm) -> PasswordChange | None:
    """Do 「パスワードを変更」, or add the reason why not to the form and return None."""
    try:
        return passwords.force(
            form.user,
            by=user_of(request),
            new_password=form.cleaned_data["new_password1"],
            must_change=form.cleaned_data["must_change"],
            address=client_address(request),
        )
    except passwords.ConcurrentChange:
        form.add_error(None, _("This password has just been changed elsewhere. Nothing was done."))
    except passwords.ReusedPassword:
        form.add_error("new_password1", reuse_rule_text())
    return None


@administrators_only
@require_safe
def user_changed(request: HttpRequest, pk: int, change_id: str) -> HttpResponseBase:
    """Show 「パスワードが変更されました。」 and what to tell the user."""
    user = _user(request, pk)
    change = get_object_or_404(
        PasswordChange, pk=change_id, user=user, kind=PasswordChange.Kind.FORCED
    )
    context = {"person": user, "change": change, "pcs": presence.pcs_of(user)}
    return render(request, "console/user_changed.html", context)


@administrators_only
@require_http_methods(["GET", "HEAD", "POST"])
def user_new(request: HttpRequest) -> HttpResponseBase:
    """Create a user with a temporary password, which only the answer to the form shows."""
    form = UserForm(posted(request))
    if request.method == "POST" and form.is_valid():
        by, address = user_of(request), client_address(request)
        user, password = form.user_of(by.account), temporary_passwords.generate()
        error = new_users.name_refusal(user, by=by, address=address)
        if not error:
            passwords.set_initial(user, password, must_change=True)
            error = new_users.save(user, by=by, address=address)
        if not error:
            context = {"person": user, "temporary_password": password}
            return repeatable(render(request, "console/user_created.html", context))
        form.add_error("username", error)
    return render(request, "console/user_new.html", {"form": form})


def _disable(users: QuerySet[User]) -> int:
    users = users.filter(is_active=True)
    return users.update(is_active=False, session_epoch=F("session_epoch") + 1)


def _enable(users: QuerySet[User]) -> int:
    return users.filter(is_active=False).update(is_active=True)


def _end_sessions(users: QuerySet[User]) -> int:
    return users.update(session_epoch=F("session_epoch") + 1)


@dataclass(frozen=True)
class UserAction:
    """An action on a user: `perform` changes the rows, inside a transaction, and counts them."""

    action: PageAction
    perform: Callable[[QuerySet[User]], int]
    done: str | Promise


_actions = {
    "disable": UserAction(
        PageAction.USER_DISABLED, _disable, gettext_lazy("%(user)s was disabled.")
    ),
    "enable": UserAction(PageAction.USER_ENABLED, _enable, gettext_lazy("%(user)s was enabled.")),
    "end-sessions": UserAction(
        PageAction.SESSIONS_ENDED,
        _end_sessions,
        gettext_lazy("All sessions of %(user)s were ended."),
    ),
}


def _lock_as_administrator(by: User) -> None:
    """Let one action at a time change who is enabled in an account. Raise PermissionDenied.

    Else two administrators who disable each other at the same moment would both succeed.
    """
    Account.objects.select_for_update(no_key=True).get(pk=by.account_id)
    if not User.objects.filter(pk=by.pk, is_active=True, role=User.Role.ADMINISTRATOR).exists():
        raise PermissionDenied


def _question(action: str, user: User) -> dict[str, object]:
    name = {"user": user.username}
    if action == "disable":
        text = _("The user is logged out everywhere, and the user's PCs cannot wait any more.")
        return {"title": _("Disable %(user)s") % name, "texts": [text], "button": _("Disable")}
    if action == "enable":
        text = _("The user can log in again with the current password.")
        return {"title": _("Enable %(user)s") % name, "texts": [text], "button": _("Enable")}
    text = _("The user is logged out of the console and the smartphone app. PCs go on waiting.")
    title = _("End all sessions of %(user)s") % name
    return {"title": title, "texts": [text], "button": _("End sessions")}


@administrators_only
@require_http_methods(["GET", "HEAD", "POST"])
def user_action(request: HttpRequest, pk: int, action: str) -> HttpResponseBase:
    """Disable a user, enable a user, or end all of a user's sessions, after asking."""
    if action not in _actions:
        raise Http404
    user, by = _user(request, pk), user_of(request)
    if action == "disable" and user.pk == by.pk:
        raise PermissionDenied
    if request.method != "POST":
        cancel = reverse("user", args=[user.pk])
        return confirm(request, **_question(action, user), cancel=cancel)
    with transaction.atomic():
        _lock_as_administrator(by)
        if _actions[action].perform(User.objects.filter(pk=user.pk)):
            done, address = _actions[action].action, client_address(request)
            audit.record(done, actor=by, subject=user, address=address)
            bus.publish(user.pk)
    messages.success(request, str(_actions[action].done) % {"user": user.username})
    return redirect("user", pk=user.pk)


@administrators_only
@require_http_methods(["GET", "HEAD", "POST"])
def user_end_old(request: HttpRequest, pk: int) -> HttpResponseBase:
    """End a user's old passwords before their time."""
    user = _user(request, pk)
    title = _("End old passwords of %(user)s now") % {"user": user.username}
    return end_old_of(request, user, title=title, back=reverse("user", args=[user.pk]))


@administrators_only
@require_http_methods(["POST"])
def user_pc(request: HttpRequest, pk: int, device_pk: int, action: str) -> HttpResponse:
    """Disconnect a user's PC, or allow it again."""
    if action not in {"disconnect", "allow"}:
        raise Http404
    user = _user(request, pk)
    device = get_object_or_404(Device, pk=device_pk, user=user)
    blocked = action == "disconnect"
    set_blocked(device, blocked=blocked, by=user_of(request), address=client_address(request))
    text = _("%(pc)s was disconnected.") if blocked else _("%(pc)s may wait again.")
    messages.success(request, text % {"pc": device.name})
    return redirect("user", pk=user.pk)
