"""`make demo DAY=29`: the demonstration as if the password had been changed 29 days ago.

The PC still has the old password. A page of the demonstration moves the server's clock to another
day, and starts the client as at a new sign-in, because a warning is shown once at each sign-in.
Console, smartphone page and client count the days by the server's clock.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template import RequestContext, Template
from django.urls import path
from django.utils import timezone
from django.utils.translation import get_language

from agent.i18n import translation
from agent.report import status_text, view_of
from demo.installation import Client, Sample, StageError, sample_password
from server import clock
from server.console import passwords, urls
from server.console.middleware import reachable_with_temporary_password
from server.console.models import User

LAST_DAY = passwords.GRACE.days
"""The last day of the old password, counted from the change."""
BUTTONS = {"30": 0, "7": 23, "3": 27, "1": 29, "0": LAST_DAY, "31": 31}
"""Buttons: days left of the old password (31: the day after its end), and days after the change."""
ANSWER_S = 60
PATH = "rehearsal/"
PAGE = """{% extends "console/base.html" %}
{% block title %}リハーサル / Rehearsal{% endblock %}
{% block content %}
<h1>リハーサル / Rehearsal</h1>
<p>古いパスワードの残り日数、31 は無効になった翌日
/ Days left of the old password, 31 is the day after its end</p>
<form method="post"><p>{% csrf_token %}{% for text, days in buttons.items %}
<button name="day" value="{{ days }}" class="{% if days != day %}quiet{% endif %}">
{{ text }}</button>{% endfor %}</p></form>
<h2>クライアントプログラム / Client</h2>
<p class="message">{{ status|linebreaksbr }}</p>
{% for line in shown %}<p class="message warning">{{ line }}</p>{% endfor %}
<p><a href="{% url 'home' %}" target="_blank">管理機能 / Management console</a> &nbsp;
<a href="{% url 'app' %}" target="_blank">スマートフォン / Smartphone</a></p>
{% endblock %}"""


def moment(end: datetime, days_left: int) -> datetime:
    """Return a time when an old password, valid until `end`, has `days_left` calendar days left."""
    if days_left != 0:
        return end - timedelta(days=days_left)
    here = timezone.localtime(end)
    today = here - datetime.combine(here, datetime.min.time(), here.tzinfo)
    return end - min(timedelta(hours=1), today / 2)


class Rehearsal:
    """A PC that has missed a change of the password, and the days after that change."""

    def __init__(self, client: Client, gateway: str, user: Sample) -> None:
        """Change the password of `user`, after the client has logged in with the old one."""
        row = User.objects.get(username=user.username)
        new, self._before, self._verifier = sample_password(), user, row.password
        change = passwords.change_own(row, new_password=new, push_to=())
        self.user = replace(user, password=new)
        """The user with the new password."""
        self._asked: SimpleQueue[tuple[int, Future[None]]] = SimpleQueue()
        self._client, self._gateway = client, gateway
        self._end = change.old_valid_until
        self._day = self._sign_ins = self._output = 0
        urls.urlpatterns.append(path(PATH, self._page))

    def show(self, day: int) -> None:
        """Go to `day`, counted from the change, and start the client as at a new sign-in."""
        status, self._day = self._client.status(), day
        self._client.stop()
        clock.move(moment(self._end, LAST_DAY - day) - clock.now())
        if status is not None and status["state"] != "standby_old_password":
            self._go_back_to_old_password()
        self._sign_ins += 1
        self._output = len(self._client.output)
        self._client.start(session=f"day-{self._sign_ins}")
        self._client.wait_until_calm()

    def pause(self) -> None:
        """Go to the day that was chosen on the page, or wait for half a second.

        Call it on the main thread: on Linux the client ends with the thread that started it.
        """
        with suppress(Empty):
            day, done = self._asked.get(timeout=0.5)
            try:
                self.show(day)
            except StageError as exc:
                done.set_exception(exc)
            else:
                done.set_result(None)

    def _go_back_to_old_password(self) -> None:
        """Log in with the old password after the client has dropped or replaced that password.

        A client stores a typed password only if it is the current one. So the server takes the old
        password as the current one during this login.
        """
        [row] = found = User.objects.filter(username=self._before.username)
        found.update(password=self._verifier)
        try:
            self._client.log_in_at(self._gateway, self._before)
        finally:
            found.update(password=row.password)

    @reachable_with_temporary_password
    @login_not_required
    def _page(self, request: HttpRequest) -> HttpResponse:
        """Show buttons, the client's status and its notifications; on POST, go to a day."""
        if request.method == "POST":
            done: Future[None] = Future()
            try:
                days = {str(day): day for day in BUTTONS.values()}
                self._asked.put((days[request.POST["day"]], done))
                done.result(ANSWER_S)
            except (KeyError, StageError, TimeoutError) as exc:
                messages.error(request, str(exc))
            return redirect(request.path)
        status, language = self._client.status(), translation(get_language() or "auto")
        context = {
            "buttons": BUTTONS,
            "day": self._day,
            "status": "" if status is None else status_text(view_of(status), language),
            "shown": self._client.notifications(self._output),
        }
        return HttpResponse(Template(PAGE).render(RequestContext(request, context)))
