"""Change a user's own password, show the outcome on each PC, and list the rules."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from server.console import passwords, presence
from server.console.forms import OwnPasswordForm
from server.console.middleware import reachable_with_temporary_password
from server.console.models import Device, PasswordChange, User
from server.console.validators import reuse_rule_text, rule_texts
from server.console.views.common import (
    client_address,
    confirm,
    hide_passwords,
    live,
    posted,
    user_of,
)


@reachable_with_temporary_password
@hide_passwords
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest) -> HttpResponseBase:
    """Serve 「パスワード変更」; a temporary password is not asked for again."""
    user = user_of(request)
    temporary = user.must_change_password
    waiting = list(presence.waiting(user))
    form = OwnPasswordForm(
        posted(request),
        user=user,
        request=request,
        waiting=waiting,
        ask_current=not temporary,
        offer_push=not user.is_administrator,
    )
    if request.method == "POST" and form.is_valid():
        done = _perform(request, form)
        if done is not None:
            return redirect("password-changed", change_id=done.pk)
    context = {"form": form, "temporary": temporary, **_push_context(form, waiting)}
    return render(request, "console/password.html", context)


def _perform(request: HttpRequest, form: OwnPasswordForm) -> PasswordChange | None:
    """Change the password, or add the reason why not to the form and return None."""
    user = form.user
    try:
        change = passwords.change_own(
            user,
            new_password=form.cleaned_data["new_password1"],
            push_to=form.push_to,
            address=client_address(request),
        )
    except passwords.ConcurrentChange:
        form.add_error(None, _("This password has just been changed elsewhere. Nothing was done."))
        return None
    except passwords.ReusedPassword:
        form.add_error("new_password1", reuse_rule_text())
        return None
    update_session_auth_hash(request, user)
    _mention_other_pcs(request, form)
    return change


def _mention_other_pcs(request: HttpRequest, form: OwnPasswordForm) -> None:
    gone = Device.objects.filter(pk__in=form.gone)
    if gone:
        names = _(", ").join(device.name for device in gone)
        text = _("Stopped waiting before the change, so not applied there: %(pcs)s")
        messages.warning(request, text % {"pcs": names})
    come = [device for device in form.come if device.pk not in form.chosen]
    if come:
        names = _(", ").join(device.name for device in come)
        text = _("Began to wait after you opened the page, so not applied there: %(pcs)s")
        messages.warning(request, text % {"pcs": names})


def _push_context(form: OwnPasswordForm, waiting: list[Device]) -> dict[str, object]:
    """Return the waiting PCs and which of them are ticked: all, unless the user has chosen."""
    ticked = {device.pk for device in waiting}
    on = bool(waiting)
    if form.is_bound and "push" in form.fields:
        data = form.request.POST
        shown, chosen = set(data.getlist("shown")), set(data.getlist("device"))
        ticked = {pk for pk in ticked if str(pk) in chosen or str(pk) not in shown}
        on = on and ("push" in data or not shown)
    return {"waiting": waiting, "ticked": ticked, "push_on": on}


@reachable_with_temporary_password
@require_safe
def live_push(request: HttpRequest) -> HttpResponse:
    """Send the PCs below the switch as they are now."""
    waiting = list(presence.waiting(user_of(request)))
    ticked = {device.pk for device in waiting}
    return live(request, "console/_push.html", waiting=waiting, ticked=ticked)


def _change_of(user: User, change_id: str) -> PasswordChange:
    return get_object_or_404(PasswordChange, pk=change_id, user=user)


def _outcome(change: PasswordChange) -> dict[str, object]:
    rows = presence.deliveries(change)
    return {"change": change, "rows": rows, "settled": presence.are_settled(rows)}


@require_safe
def changed(request: HttpRequest, change_id: str) -> HttpResponse:
    """Show 「パスワードが変更されました。」 and the outcome on each PC."""
    user = user_of(request)
    return render(request, "console/changed.html", _outcome(_change_of(user, change_id)))


@require_safe
def live_changed(request: HttpRequest, change_id: str) -> HttpResponse:
    """Send the outcomes as they are now."""
    change = _change_of(user_of(request), change_id)
    return live(request, "console/_deliveries.html", **_outcome(change))


@reachable_with_temporary_password
@login_not_required
@require_safe
def password_rules(request: HttpRequest) -> HttpResponse:
    """Show 「ココナワークのパスワードの条件」."""
    return render(request, "console/rules.html", {"rules": rule_texts()})


@require_http_methods(["GET", "HEAD", "POST"])
def end_old(request: HttpRequest) -> HttpResponseBase:
    """End the user's own old passwords before their time."""
    title = _("End old passwords now")
    return end_old_of(request, user_of(request), title=title, back=reverse("home"))


def end_old_of(request: HttpRequest, user: User, *, title: str, back: str) -> HttpResponseBase:
    """Ask whether to end the old passwords of `user`, or end them; then lead to `back`."""
    if request.method == "POST":
        by, address = user_of(request), client_address(request)
        if passwords.end_old_passwords(user, by=by, address=address):
            messages.success(request, _("The old passwords are no longer valid."))
        else:
            messages.info(request, _("There was no old password that was still valid."))
        return redirect(back)
    texts = [
        _(
            "PCs whose client still uses an old password are cut off at once. They cannot be "
            "reached until a user signs in at the PC and updates the stored password there."
        ),
        _("Do this when a PC was stolen or lost, or when an old password became known."),
    ]
    button = _("End old passwords")
    return confirm(request, title=title, texts=texts, button=button, cancel=back)
