"""Answer a form that is sent twice with the answer to the first sending.

How it works: the token against forged forms differs on every page that Django renders. That token,
the path and the fields identify one submission. The first request of a submission inserts a row,
runs the view, and stores the answer in the row. A second request (a second click, a reload, a
dropped connection) finds the row, waits until the row has an answer, and sends the same answer.

Only answers that mean "done" are kept: redirects, and pages that a view has marked `repeatable`.
After any other answer the row is deleted, so the user may correct the form and send it again.

An answer may hold a temporary password, or the session that a password change has begun. So it is
sealed with a key that is derived from the submission. The key is not in the database, so a copy of
the database opens no answer. Only the user who sent the form gets the answer, and only while logged
in: after a logout, the browser's history shows no temporary password.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

from django.contrib.auth import get_user
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.crypto import salted_hmac
from nacl.secret import SecretBox

from server.console.hashing import Busy, give_back_connection
from server.console.models import FormResult
from server.console.paths import in_app
from server.console.sessions import SessionStore

KEPT = timedelta(minutes=15)
"""Time in which a second sending gets the first answer."""
LEASE_S = 180.0
"""Seconds without an answer after which the process that worked on a form counts as dead."""
POLL_S = 0.1


def repeatable(response: HttpResponse) -> HttpResponse:
    """Mark a page as the result of a completed action, so that it is kept."""
    response.repeatable = True  # type: ignore[attr-defined]  # a mark
    return response


class ResubmissionMiddleware:
    """Answer repeated forms; run after authentication and before logins are required.

    Later is not possible, because the first sending may have ended the session of the second.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        key: bytes | None = getattr(request, "submission", None)
        if key is not None:
            _keep(key, request, response, sender=request.sender)  # type: ignore[attr-defined]  # set with it
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., object], _args: object, _kwargs: object
    ) -> HttpResponse | None:
        """Answer a second sending, or return None for a first one. Raise Busy."""
        if request.method != "POST" or "csrfmiddlewaretoken" not in request.POST:
            return None
        if not getattr(view, "login_required", True):
            return None
        key = _key(request)
        if not request.user.is_authenticated:  # strangers must not make rows
            return _answer_of(key, request) if _rows(key).exists() else None
        while not _begin(key):
            if (answer := _answer_of(key, request)) is not None:
                return answer
        request.submission, request.sender = key, request.user.pk  # type: ignore[attr-defined]  # for `__call__`
        return None


def _key(request: HttpRequest) -> bytes:
    """Return the 256-bit key that identifies a submission and seals its answer."""
    fields = sorted(request.POST.lists())
    files = []
    for name, several in sorted(request.FILES.lists()):
        for file in several:
            files.append((name, hashlib.sha256(file.read()).hexdigest()))
            file.seek(0)
    content = repr((request.path, fields, files))
    return salted_hmac("coconowork.submission", content, algorithm="sha256").digest()


def _rows(key: bytes) -> Any:
    return FormResult.objects.filter(pk=hashlib.sha256(key).hexdigest())


def _begin(key: bytes) -> bool:
    """Insert the row of a submission. Return False if an earlier request has inserted it."""
    now = timezone.now()
    try:
        with transaction.atomic():
            FormResult.objects.filter(at__lt=now - KEPT).delete()
            _rows(key).filter(sealed=None, at__lt=now - timedelta(seconds=LEASE_S)).delete()
            FormResult.objects.create(pk=hashlib.sha256(key).hexdigest())
    except IntegrityError:
        return False
    return True


def _keep(key: bytes, request: HttpRequest, response: HttpResponseBase, *, sender: int) -> None:
    """Store an answer that means "done"; after any other answer, delete the submission's row."""
    done = response.status_code == 302 or getattr(response, "repeatable", False)
    if not (done and isinstance(response, HttpResponse)):
        _rows(key).delete()
        return
    if request.session.modified and not request.session.is_empty():
        request.session.save()  # a second sending may continue this session from now on
    answer = {
        "sender": sender,
        "session": request.session.session_key,
        "location": response.headers.get("Location"),
        "cookies": response.cookies.output(header="", sep="\n"),
        "body": response.content.decode(),
    }
    _rows(key).update(sealed=SecretBox(key).encrypt(json.dumps(answer).encode()))


def _answer_of(key: bytes, request: HttpRequest) -> HttpResponse | None:
    """Wait for the answer to the first sending; None if its row was deleted. Raise Busy.

    A user who is not logged in as the first sender is redirected to the login page.
    """
    end = monotonic() + LEASE_S
    while monotonic() < end:
        row = _rows(key).first()
        if row is None:
            return None
        if row.sealed is not None:
            answer = json.loads(SecretBox(key).decrypt(bytes(row.sealed)))
            if _user_after(answer["session"], request) != answer["sender"]:
                return redirect("app-login" if in_app(request) else "login")
            response = HttpResponse(answer["body"])
            if answer["location"] is not None:
                response = HttpResponseRedirect(answer["location"])
            response.cookies.load(answer["cookies"])
            return response
        if row.at < timezone.now() - timedelta(seconds=LEASE_S):
            return None
        give_back_connection()
        sleep(POLL_S)
    raise Busy


def _user_after(session_key: str | None, request: HttpRequest) -> int | None:
    """Return the key of the user who is logged in, perhaps by the first sending's new session."""
    if request.user.is_authenticated:
        return request.user.pk
    if session_key and session_key != request.session.session_key:
        session = SessionStore(session_key)
        if session.exists(session_key):
            session.modified = True
            request.session = session
    return get_user(request).pk
