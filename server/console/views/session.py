"""Log in, log out, and choose the language."""

from __future__ import annotations

import logging

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.i18n import set_language as django_set_language

from server import metrics
from server.console.audit import Action, record
from server.console.forms import LoginForm
from server.console.middleware import reachable_with_temporary_password
from server.console.models import User
from server.console.views.common import back_to, client_address, confirm, user_of

log = logging.getLogger(__name__)


@method_decorator(login_not_required, name="dispatch")
class Login(LoginView):
    """The login page, with user name and password."""

    template_name = "console/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Log the user in, and record the login."""
        user, address = form.get_user(), client_address(self.request)
        record(Action.LOGIN_ACCEPTED, actor=user, subject=user)
        metrics.console_logins.labels("accepted").inc()
        log.info("console login accepted: user %d from %s", user.pk, address)
        return super().form_valid(form)


def end_others(request: HttpRequest) -> HttpResponseBase:
    """Ask, and then end all sessions of the user but this one."""
    user, back = user_of(request), back_to(request, reverse("home"))
    if request.method != "POST":
        texts = [
            _("Other browsers and smartphones are logged out. This browser stays logged in."),
            _("PCs go on waiting."),
        ]
        title, button = _("End all your other sessions"), _("End sessions")
        return confirm(request, title=title, texts=texts, button=button, cancel=back)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
        record(Action.SESSIONS_ENDED, actor=user, subject=user)
    user.refresh_from_db(fields=["session_epoch"])
    update_session_auth_hash(request, user)
    messages.success(request, _("Your other sessions were ended."))
    return redirect(back)


logout = reachable_with_temporary_password(LogoutView.as_view())
set_language = reachable_with_temporary_password(login_not_required(django_set_language))
