"""Make Django's settings from `config.py`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.http.request import split_domain_port
from django.utils.translation import gettext_lazy as _

from server import config
from server.cluster import database

_config = config.current()
_here = Path(__file__).parent


def _secret_key(path: Path) -> str:
    """Return the secret key. Of several processes that start at once, the first creates it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        lock = path.with_name(f"{path.name}.lock")
        busy = f"{path}: another process is making the secret key; start again"
        with database.file_lock(lock, busy=busy, timeout_s=20):
            if not path.exists():
                draft = path.with_name(f"{path.name}.new")
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_urlsafe(48))
                    file.flush()
                    os.fsync(file.fileno())
                draft.rename(path)
    return path.read_text().strip()


SECRET_KEY = _secret_key(_config.secret_key_path)
DEBUG = False
LOGGING_CONFIG = None  # the command line sets logging up
_host = split_domain_port(urlsplit(_config.console_url).netloc)[0]  # as Django reads `Host`
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", _host]
CSRF_TRUSTED_ORIGINS = [_config.console_url]

INSTALLED_APPS = [
    "server.console",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
]
MIDDLEWARE = [
    "server.console.middleware.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "server.console.middleware.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "server.console.resubmission.ResubmissionMiddleware",
    "server.console.middleware.LoginMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
ROOT_URLCONF = "server.console.urls"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES: dict[str, dict[str, Any]] = {"default": database.django_settings(_config)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "console.User"
PASSWORD_HASHERS = ["server.console.hashers.ScramSha256Hasher"]

LANGUAGE_CODE = _config.language
LANGUAGES = [("ja", _("Japanese")), ("en", _("English"))]
LOCALE_PATHS = [_here / "console" / "locale"]
TIME_ZONE = _config.time_zone
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False  # no other site needs the static files

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _config.is_https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _config.is_https else 0

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
CSRF_FAILURE_VIEW = "server.console.problems.csrf_failure"
CSRF_COOKIE_HTTPONLY = True
if _config.is_https:
    # Browsers accept a cookie with this prefix only over https and for this host alone.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
SESSION_ENGINE = "server.console.sessions"
SESSION_COOKIE_AGE = 12 * 3600  # since the login; sessions.py has the idle limit
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE = _config.is_https
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = _config.is_https
SILENCED_SYSTEM_CHECKS = [
    # The owner of the domain decides whether HSTS covers its other hosts (W005) and is preloaded
    # into browsers (W021).
    "security.W005",
    "security.W021",
]

AUTH_PASSWORD_VALIDATORS = [{"NAME": "server.console.validators.PasswordRules"}]

AXES_HANDLER = "server.console.lockout.Handler"
AXES_CLIENT_IP_CALLABLE = "server.console.views.common.client_address"
AXES_LOCKOUT_CALLABLE = "server.console.problems.locked_out"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
