"""Change a user's own password, show the outcome on each PC, and list the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from server.console import passwords, presence
from server.console.forms import NewPasswordForm, OwnPasswordForm, PushLaterForm
from server.console.middleware import reachable_with_temporary_password
from server.console.models import PasswordChange
from server.console.paths import in_app
from server.console.validators import rule_texts
from server.console.views.common import (
    back_to,
    confirm,
    frame,
    leading_back,
    live,
    live_page,
    user_of,
    whose,
)


@reachable_with_temporary_password
def change(request: HttpRequest) -> HttpResponseBase:
    """Serve 「パスワード変更」, without asking for a temporary password again."""
    form = OwnPasswordForm(request)
    if form.is_valid():
        done = change_or_error(
            form, passwords.change_own, push_to=form.push_to, late=form.push_late
        )
        if done is not None:
            update_session_auth_hash(request, form.user)
            _mention_other_pcs(request, form)
            shown = reverse("password-changed", args=[done.pk])
            return redirect(leading_back(request, shown))
    return render(request, "console/password.html", {"form": form, **form.push_context()})


def change_or_error(
    form: NewPasswordForm, change: Callable[..., PasswordChange], **arguments: Any
) -> PasswordChange | None:
    """Change the password; on an error, add it to the form and return None."""
    try:
        return change(form.user, new_password=form.cleaned_data["new_password1"], **arguments)
    except passwords.ConcurrentChange as exc:
        form.add_error(None, exc)
    except passwords.ReusedPassword as exc:
        form.add_error("new_password1", exc)
    return None


def _mention_other_pcs(request: HttpRequest, form: OwnPasswordForm) -> None:
    for devices, text in (
        (form.gone, _("Stopped waiting before the change, so not applied there: %(pcs)s")),
        (form.come, _("Began to wait after you opened the page, so not applied there: %(pcs)s")),
    ):
        if devices:
            names = _(", ").join(device.name for device in devices)
            messages.warning(request, text % {"pcs": names})


@reachable_with_temporary_password
@require_safe
def live_push(request: HttpRequest) -> HttpResponse:
    """Send the present state of the PCs below the switch."""
    return live(request, "console/_push.html", **OwnPasswordForm(request).push_context())


def push_later(request: HttpRequest) -> HttpResponseBase:
    """Serve 「このPCに新しいパスワードを反映する」, in the console or on the smartphone page."""
    form = PushLaterForm(request)
    if form.is_valid():
        password = form.cleaned_data["current_password"]
        try:
            change = passwords.push_later(form.user, password=password, devices=form.chosen)
        except (passwords.ConcurrentChange, passwords.NotPushed) as exc:
            form.add_error(None, exc)
        else:
            if in_app(request):
                return redirect("app")
            return redirect("password-changed", change_id=change.pk)
    context = {
        "form": form,
        "pcs": [pc for pc in presence.pcs_of(form.user) if pc.can_push],
        "ticked": request.POST.getlist("device") or request.GET.getlist("pc"),
        **frame(request),
    }
    return render(request, "console/push_later.html", context)


@require_safe
def changed(request: HttpRequest, change_id: str) -> HttpResponse:
    """Show 「パスワードが変更されました。」 and the outcome on each PC."""
    change = get_object_or_404(PasswordChange, pk=change_id, user=user_of(request))
    rows = presence.deliveries(change)
    return live_page(
        request,
        "console/changed.html",
        "console/_deliveries.html",
        change=change,
        rows=rows,
        settled=presence.are_settled(rows),
        back=back_to(request, ""),
    )


@reachable_with_temporary_password
@login_not_required
@require_safe
def password_rules(request: HttpRequest) -> HttpResponse:
    """Show 「ココナワークのパスワードの条件」."""
    return render(request, "console/rules.html", {"rules": rule_texts()})


def end_old(request: HttpRequest, pk: int | None = None) -> HttpResponseBase:
    """End the user's old passwords early, or those of an administrator's user."""
    user, back = whose(request, pk)
    if request.method == "POST":
        if passwords.end_old_passwords(user, by=user_of(request)):
            messages.success(request, _("The old passwords are no longer valid."))
        else:
            messages.info(request, _("There was no old password that was still valid."))
        return redirect(back)
    title = _("End old passwords now")
    if pk is not None:
        title = _("End old passwords of %(user)s now") % {"user": user.username}
    texts = [
        _(
            "PCs whose client still uses an old password are cut off at once. They cannot be "
            "reached until a user signs in at the PC and updates the stored password there."
        ),
        _("Do this when a PC was stolen or lost, or when an old password became known."),
    ]
    button = _("End old passwords")
    return confirm(request, title=title, texts=texts, button=button, cancel=back)
