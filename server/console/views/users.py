"""Serve 「ユーザ管理」: the list of users, one user, and an administrator's actions on a user."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Min, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.http import require_safe

from server.console import passwords, people, presence
from server.console.forms import EditUserForm, ForcePasswordForm, UserFilterForm, UserForm
from server.console.models import AuditEvent, Device, PasswordChange, User
from server.console.resubmission import repeatable
from server.console.search import contains
from server.console.views.common import (
    CsvResponse,
    administrators_only,
    back_to,
    confirm,
    each_of,
    leading_back,
    list_context,
    managed_user,
    page_of,
    posted,
    user_of,
)
from server.console.views.password import change_or_error

RECENT_EVENTS = 10


def _listed(account_id: int, form: UserFilterForm) -> QuerySet[User]:
    """Return the account's users that match the filter."""
    users = User.objects.filter(account=account_id)
    if not form.is_valid():
        return users.none()
    devices = Device.objects.filter(blocked_at__isnull=True)
    states = {  # not EXISTS: SQLite would read each user's PCs in turn
        "waiting": Q(pk__in=devices.waiting().values("user")),
        "old": Q(pk__in=devices.on_old_password().values("user")),
        "temporary": Q(must_change_password=True),
        "disabled": Q(is_active=False),
    }
    state = states.get(form.cleaned_data["state"], Q())
    return users.filter(contains("search", form.cleaned_data["q"]), state)


def _rows(users: Collection[User]) -> list[dict[str, Any]]:
    """Return each user with a summary of the user's PCs: waiting, first end of an old password."""
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
    summaries = {each["user"]: each for each in pcs}
    nothing = {"waiting": 0, "valid_until": None, "last_seen": None}
    return [{**summaries.get(user.pk, nothing), "user": user} for user in users]


@administrators_only
@require_safe
def user_list(request: HttpRequest) -> HttpResponseBase:
    """Show all users of the account, with search and paging."""
    form = UserFilterForm(request.GET)
    users = _listed(user_of(request).account_id, form)
    page = page_of(request, users, key="username", shown=User.objects.all())
    context = list_context(request, form, page) | {"rows": _rows(list(page))}
    return render(request, "console/users.html", context)


@administrators_only
@require_safe
def users_csv(request: HttpRequest) -> HttpResponseBase:
    """Send the list, with the page's filter, as a CSV file that can be imported again."""
    users = each_of(_listed(user_of(request).account_id, UserFilterForm(request.GET)))
    columns: dict[str, Callable[[User], str]] = {
        _("User name"): lambda user: user.username,
        pgettext("of a person", "Name"): lambda user: user.display_name,
        _("Role"): lambda user: user.get_role_display(),
        _("State"): lambda user: _("Enabled") if user.is_active else _("Disabled"),
    }
    return CsvResponse("users", columns, users)


def user_detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show one user, and the form that sets the user's password."""
    user, by = managed_user(request, pk), user_of(request)
    own = user.pk == by.pk
    form = ForcePasswordForm(posted(request), user=user)
    if request.method == "POST" and own:
        return redirect("password")
    if form.is_valid():
        must_change = form.cleaned_data["must_change"]
        change = change_or_error(form, passwords.force, by=by, must_change=must_change)
        if change is not None:
            shown = reverse("user-changed", args=[user.pk, change.pk])
            return redirect(leading_back(request, shown))
    context = {
        "person": user,
        "own": own,
        "form": form,
        "pcs": presence.pcs_of(user),
        "old_valid_until": passwords.old_valid_until(user),
        "events": AuditEvent.objects.filter(subject=user)[:RECENT_EVENTS],
    }
    return render(request, "console/user.html", context)


@administrators_only
@require_safe
def user_changed(request: HttpRequest, pk: int, change_id: str) -> HttpResponseBase:
    """Show 「パスワードが変更されました。」 and what to tell the user."""
    user = managed_user(request, pk)
    change = get_object_or_404(
        PasswordChange, pk=change_id, user=user, kind=PasswordChange.Kind.FORCED
    )
    context = {"person": user, "change": change, "pcs": presence.pcs_of(user)}
    return render(request, "console/user_changed.html", {**context, "back": back_to(request, "")})


@administrators_only
def user_new(request: HttpRequest) -> HttpResponseBase:
    """Create a user with a temporary password, which only the answer to the form shows."""
    form = UserForm(posted(request))
    if form.is_valid():
        by = user_of(request)
        user, password = form.user_of(by.account), people.temporary_password()
        error = people.name_refusal(user, by=by)
        if not error:
            passwords.set_initial(user, password, must_change=True)
            error = people.create(user, by=by)
        if not error:
            context = {"person": user, "temporary_password": password}
            return repeatable(render(request, "console/user_created.html", context))
        form.add_error("username", error)
    return render(request, "console/user_new.html", {"form": form})


_ACTIONS = {
    "disable": (
        people.DISABLE,
        gettext_lazy("Disable %(user)s"),
        gettext_lazy("The user is logged out everywhere, and the user's PCs cannot wait any more."),
        gettext_lazy("Disable"),
        gettext_lazy("%(user)s was disabled."),
    ),
    "enable": (
        people.ENABLE,
        gettext_lazy("Enable %(user)s"),
        gettext_lazy("The user can log in again with the current password."),
        gettext_lazy("Enable"),
        gettext_lazy("%(user)s was enabled."),
    ),
    "end-sessions": (
        people.END_SESSIONS,
        gettext_lazy("End all sessions of %(user)s"),
        gettext_lazy(
            "The user is logged out of the console and the smartphone app. PCs go on waiting."
        ),
        gettext_lazy("End sessions"),
        gettext_lazy("All sessions of %(user)s were ended."),
    ),
}
"""For each action: the change, the page's title, text and button, and the message afterwards."""


def user_action(request: HttpRequest, pk: int, action: str) -> HttpResponseBase:
    """Ask, and then disable or enable a user, or end all sessions of a user."""
    user, by = managed_user(request, pk), user_of(request)
    if action not in _ACTIONS:
        raise Http404
    change, title, text, button, done = _ACTIONS[action]
    if action == "disable" and user.pk == by.pk:
        raise PermissionDenied
    name, back = {"user": user.username}, back_to(request, reverse("user", args=[user.pk]))
    if request.method != "POST":
        return confirm(request, title=title % name, texts=[text], button=button, cancel=back)
    people.apply(change, user, by=by)
    messages.success(request, done % name)
    return redirect(back)


def user_edit(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Change a user's name and role, but not the administrator's own role."""
    user, by = managed_user(request, pk), user_of(request)
    now = {"display_name": user.display_name, "role": user.role}
    form = EditUserForm(posted(request), initial=now)
    form.fields["role"].disabled = user.pk == by.pk
    if form.is_valid():
        people.edit(user, by=by, **form.cleaned_data)
        messages.success(request, _("The user was changed."))
        return redirect("user", pk=pk)
    return render(request, "console/user_edit.html", {"person": user, "form": form})


def user_delete(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Delete a user, after showing the effects on PCs, sessions, pushes and the audit trail."""
    user, by = managed_user(request, pk), user_of(request)
    if user.pk == by.pk:
        raise PermissionDenied
    name = {"user": user.username}
    if request.method == "POST":
        people.delete(user, by=by)
        messages.success(request, _("%(user)s was deleted.") % name)
        return redirect("users")
    texts = [
        _(
            "The user is logged out everywhere. The user's PCs are disconnected at once, no "
            "client can log in with this user any more, and passwords on their way to a PC are "
            "discarded."
        ),
        ngettext(
            "%(count)d PC is removed from the list.",
            "%(count)d PCs are removed from the list.",
            (count := user.devices.count()),
        )
        % {"count": count},
        _("The audit trail keeps what was done, with the names of the user and of the PCs."),
        _("This cannot be undone. To keep the user for now, disable the user instead."),
    ]
    title, button, cancel = _("Delete %(user)s") % name, _("Delete"), reverse("user", args=[pk])
    return confirm(request, title=title, texts=texts, button=button, cancel=cancel)
