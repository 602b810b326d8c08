"""Add a new PC by the code that it shows: type the code, compare the words, watch the result.

The session keeps the code and its PC, so no address has a code: an attacker's link cannot skip the
page with the warning. The form of the second page names the PC that it showed, because the user may
have typed another code in another window since.
"""

from __future__ import annotations

from functools import partial

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from protocol.pairing import format_code, parse_code, words
from server.console import hashing, pairings
from server.console.audit import Action
from server.console.forms import CurrentPasswordForm
from server.console.lockout import TooManyCodes
from server.console.models import AuditEvent, Pairing
from server.console.passwords import ConcurrentChange
from server.console.paths import in_app
from server.console.views.common import client_address, frame, live_page, posted, user_of

SHOWN = "new_pc"
"""The session's entry with the code, the pairing's change id, and the words."""


class CodeForm(forms.Form):
    """The form for the code. The cleaned code is spelled as in the database."""

    code = forms.CharField(
        label=gettext_lazy("Code on the screen of the new PC"),
        max_length=64,
        help_text=gettext_lazy("8 letters and digits, such as BCDF-2345."),
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "characters",
                "autofocus": True,
                "inputmode": "email",  # a keyboard with Latin letters, also on Japanese smartphones
                "spellcheck": "false",
            }
        ),
    )

    def clean_code(self) -> str:
        code = parse_code(self.cleaned_data["code"])
        if code is None:
            raise ValidationError(
                _("This is not a code. Codes have 8 characters, without vowels, 0, 1 and L.")
            )
        return code


def ask(request: HttpRequest) -> HttpResponseBase:
    """Serve 「新しいPCを追加」, in the console or on the smartphone page: ask for the code."""
    user, form, status = user_of(request), CodeForm(posted(request)), 200
    if form.is_valid():
        code = form.cleaned_data["code"]
        try:
            pc = pairings.find(user, code, address=client_address(request))
        except (pairings.UnknownCode, TooManyCodes) as exc:
            form.add_error("code", exc)
            status = 429 if isinstance(exc, TooManyCodes) else 200
        else:
            compared = hashing.run(partial(words, pc.code, pc.public_key))
            request.session[SHOWN] = {"code": pc.code, "pc": pc.change_id, "words": compared}
            return redirect(_address(request, "new-pc-check"))
    return _ask(request, form, status=status)


def check(request: HttpRequest) -> HttpResponseBase:
    """Show name and words of the PC, and seal the password that the user types for it."""
    shown = request.session.get(SHOWN)
    if shown is None:
        return redirect(_address(request, "new-pc"))
    pc = Pairing.open(shown["code"]).filter(change_id=shown["pc"]).first()
    is_other = request.method == "POST" and request.POST.get("pc") != shown["pc"]
    if pc is None or is_other:
        return _not_any_more(request, shown["code"])
    form = CurrentPasswordForm(request)
    if form.is_valid():
        try:
            event = pairings.accept(form.user, pc, password=form.cleaned_data["current_password"])
        except ConcurrentChange as exc:
            form.add_error(None, exc)
        except pairings.UnknownCode:
            return _not_any_more(request, shown["code"])
        else:
            return redirect(_address(request, "new-pc-result", event.pk))
    context = {"form": form, "pc": pc, "words": shown["words"], **_links(request)}
    return render(request, "console/new_pc_check.html", context)


@require_safe
def result(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the state of the new PC."""
    user = user_of(request)
    event = get_object_or_404(AuditEvent, pk=pk, subject=user, action=Action.PAIRED)
    return live_page(
        request,
        "console/new_pc_result.html",
        "console/_new_pc.html",
        name=event.detail["device"],
        state=pairings.state_of(user, event),
        live=_address(request, "live-new-pc", pk),
        **_links(request),
    )


def _not_any_more(request: HttpRequest, code: str) -> HttpResponse:
    form = CodeForm({"code": format_code(code)})
    form.add_error("code", pairings.UnknownCode())
    return _ask(request, form)


def _ask(request: HttpRequest, form: CodeForm, *, status: int = 200) -> HttpResponse:
    return render(request, "console/new_pc.html", {"form": form, **_links(request)}, status=status)


def _links(request: HttpRequest) -> dict[str, str]:
    return {"start": _address(request, "new-pc"), **frame(request)}


def _address(request: HttpRequest, name: str, *args: object) -> str:
    return reverse(f"app-{name}" if in_app(request) else name, args=args)
