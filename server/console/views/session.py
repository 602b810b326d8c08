"""Logging in and out, and choosing the language."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.utils.decorators import method_decorator
from django.views.i18n import set_language as django_set_language

from server.console.forms import LoginForm
from server.console.middleware import reachable_with_temporary_password
from server.console.views.common import hide_passwords


@method_decorator([login_not_required, hide_passwords], name="dispatch")
class Login(LoginView):
    """User name and password."""

    template_name = "console/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True


logout = reachable_with_temporary_password(LogoutView.as_view())
set_language = reachable_with_temporary_password(login_not_required(django_set_language))
