"""Keep the console's sessions: digests of their keys only, with an idle and an absolute limit.

Django stores the key of a session as it is in the cookie, so a reader of the database or of a
backup could use all sessions. Here the database has only a digest of the key.

A session ends `IDLE_S` after the last page that its user opened, and at the latest
`SESSION_COOKIE_AGE` after the login. Polls of an open page do not count as use.
"""

from __future__ import annotations

import hashlib
from time import time
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

IDLE_S = 2 * 3600
USE_IS_NOTED_AFTER_S = 300
"""Shortest time between two notes of use, because each is a write to the database."""


def begin(request: HttpRequest, **_more: object) -> None:
    """Store the login's time in the session. A receiver of Django's `user_logged_in`."""
    request.session["began"] = request.session["used"] = int(time())


def note_use(request: HttpRequest) -> None:
    """Store in the session that the user has just opened a page."""
    if time() - request.session.get("used", 0) > USE_IS_NOTED_AFTER_S:
        request.session["used"] = int(time())


def digest(key: str) -> str:
    """Return the digest of a cookie's key that is stored: 160 bits, the width of the column."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


class SessionStore(DatabaseSessions):
    """Find sessions by digests of their keys; the setting `SESSION_ENGINE` names this module."""

    def get_session_cookie_age(self) -> int:
        """Return the seconds until the session ends, if it is not used again."""
        left = settings.SESSION_COOKIE_AGE - (time() - self.get("began", time()))
        return max(0, int(min(IDLE_S, left)))

    def _get_session_from_db(self) -> Session | None:
        found = Session.objects.filter(
            session_key=digest(self.session_key or ""), expire_date__gt=timezone.now()
        ).first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return Session.objects.filter(session_key=digest(session_key)).exists()

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.session_key = digest(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            Session.objects.filter(session_key=digest(key)).delete()
