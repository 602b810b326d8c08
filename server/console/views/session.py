"""Log in, log out, and choose the language."""

from __future__ import annotations

import logging

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views.i18n import set_language as django_set_language

from server import metrics
from server.console.audit import Action, record
from server.console.forms import LoginForm
from server.console.middleware import reachable_with_temporary_password
from server.console.views.common import client_address

log = logging.getLogger(__name__)


@method_decorator(login_not_required, name="dispatch")
class Login(LoginView):
    """User name and password."""

    template_name = "console/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Log the user in, and record it."""
        user, address = form.get_user(), client_address(self.request)
        record(Action.LOGIN_ACCEPTED, actor=user, subject=user, address=address)
        metrics.console_logins.labels("accepted").inc()
        log.info("console login accepted: user %d from %s", user.pk, address)
        return super().form_valid(form)


logout = reachable_with_temporary_password(LogoutView.as_view())
set_language = reachable_with_temporary_password(login_not_required(django_set_language))
