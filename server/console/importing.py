"""Create or change the users of a CSV file in a job, which outlives the page and the process.

How it works: the upload checks the lines and stores them. A task of each console process takes
unfinished jobs in turn and creates a few users at a time, so the administrator may leave the page
and come back. A lease keeps two processes off one job. When a process is killed, another one goes
on after the lease: one transaction creates a user and marks the line as done.

The administrator gets the temporary passwords later, and the database must not reveal them. So each
job has a key pair. The server keeps the public key and seals each password with it. The private key
is only in a cookie of the browser that started the job. The passwords can be fetched once, within
`KEPT` after the end; then the job is deleted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import translation
from django.utils.translation import gettext as _
from nacl.public import PrivateKey, PublicKey, SealedBox

from server import clock, metrics
from server.cluster.database import on_thread
from server.console import csvfiles, hashing, passwords, people
from server.console.audit import Action, came_from, coming_from, record
from server.console.forms import UserForm
from server.console.models import ImportJob, ImportLine, User
from server.console.search import fold

log = logging.getLogger(__name__)

KEPT = timedelta(days=1)
"""Time for which a job and its temporary passwords are kept after its end."""
LEASE = timedelta(seconds=15)
"""Time without progress after which another process may take over a job."""
POLL_S = 2.0
"""Interval at which a process looks for a job."""

_worker = secrets.token_hex(8)
"""The random name of this process, which a lease holds."""


class WrongBrowser(Exception):
    """Raised when the private key is missing or wrong: another browser has started the job."""


def start(lines: Sequence[csvfiles.Line], *, by: User) -> tuple[ImportJob, str]:
    """Store a job and return it with its private key, which is kept nowhere else."""
    key = PrivateKey.generate()
    seen: set[str] = set()
    checked = [_check(line, seen) for line in lines]
    with transaction.atomic():
        job = ImportJob.objects.create(
            started_by=by,
            address=came_from.get(),
            language=translation.get_language() or "",
            public_key=b64encode(bytes(key.public_key)).decode(),
            leased_until=clock.now(),
        )
        for line in checked:
            line.job = job
        ImportLine.objects.bulk_create(checked, batch_size=500)
        record(Action.IMPORT_STARTED, actor=by, lines=len(lines))
    return job, b64encode(bytes(key)).decode()


def _check(line: csvfiles.Line, seen: set[str]) -> ImportLine:
    """Check one line without the database; `seen` has the user names of earlier lines."""
    cell = fold(line.values.get("role", ""))
    role = csvfiles.ROLES.get(cell, "?") if cell else User.Role.GENERAL
    form, error = UserForm({**line.values, "role": role}), ""
    if line.values["extra"]:
        error = _("There are more cells than columns.")
    elif role == "?":
        error = _("The role is neither “general” nor “administrator”.")
    elif not form.is_valid():
        error = " ".join(str(text) for texts in form.errors.values() for text in texts)
    elif form.cleaned_data["username"].casefold() in seen:
        error = _("This user name is in the file twice.")
    if error:
        name = line.values.get("username", "").replace("\0", "")
        return ImportLine(number=line.number, username=name[:80], error=error, done=True)
    seen.add(form.cleaned_data["username"].casefold())
    # An empty role stays empty, because it must not change the role of an existing user.
    return ImportLine(number=line.number, **form.cleaned_data | {"role": role if cell else ""})


async def work_for_ever() -> None:
    """Work on jobs until none is left, and look for new ones every `POLL_S` seconds."""
    is_away = False
    while True:
        try:
            while await on_thread(work):
                is_away = False
        except DatabaseError as exc:
            if not is_away:
                log.warning("imports wait for the database: %s", type(exc).__name__)
            is_away = True
        await asyncio.sleep(POLL_S)


def work() -> bool:
    """Work on the next lines of one job. Return whether to call this again at once."""
    job = _claim()
    if job is None:
        ended = ImportJob.objects.filter(finished_at__lt=clock.now() - KEPT)
        if ended.exists():
            ended.delete()
        return False
    try:
        with translation.override(job.language), coming_from(job.address):
            _go_on(job)
    except (hashing.Busy, PermissionDenied, User.DoesNotExist):
        return False  # busy, or the user was changed at the same moment: the next run retries
    return True


def _claim() -> ImportJob | None:
    """Lease the unfinished job that has waited longest to this process; return it, or None."""
    now = clock.now()
    free = ImportJob.objects.filter(Q(worker=_worker) | Q(leased_until__lt=now), finished_at=None)
    job = free.select_related("started_by__account").order_by("leased_until", "pk").first()
    if job is None or not free.filter(pk=job.pk).update(worker=_worker, leased_until=now + LEASE):
        return None
    return job


def _go_on(job: ImportJob) -> None:
    """Create or change the users of `IMPORT_THREADS` lines, or end the job. Raise Busy."""
    by, left = job.started_by, job.lines.filter(done=False)
    if not (by.is_active and by.is_administrator):
        text = _("Not done: the administrator of this import is disabled or has lost the role.")
        left.update(done=True, error=text)
    lines = list(left.order_by("number")[: hashing.IMPORT_THREADS])
    if not lines:
        ImportJob.objects.filter(pk=job.pk).update(finished_at=clock.now())
        log.info("import %d of user %d has ended", job.pk, by.pk)
        return
    new: list[tuple[ImportLine, User, str]] = []
    for line in lines:
        if _change(line, by=by):
            continue
        role = line.role or User.Role.GENERAL
        fields = {"username": line.username, "display_name": line.display_name, "role": role}
        user = User(account=by.account, **fields)
        if error := people.name_refusal(user, by=by):
            left.filter(pk=line.pk).update(done=True, error=error)
            metrics.import_lines.labels("refused").inc()
        else:
            new.append((line, user, people.temporary_password()))
    hashing.give_back_connection()
    with ThreadPoolExecutor(hashing.IMPORT_THREADS) as pool:
        list(pool.map(lambda each: _hash(*each[1:]), new))
    box = SealedBox(PublicKey(b64decode(job.public_key)))
    for line, user, password in new:
        with transaction.atomic():
            # Mark the line first: another process that works on it waits here.
            if left.filter(pk=line.pk).update(done=True, sealed=box.encrypt(password.encode())):
                error = people.create(user, by=by)
                if error:
                    job.lines.filter(pk=line.pk).update(error=error, sealed=None)
                metrics.import_lines.labels("refused" if error else "created").inc()


def _change(line: ImportLine, *, by: User) -> bool:
    """Set an existing user's name and role, where not empty; return False if there is no user.

    Lock the account first, as everywhere, and mark the line in the same transaction.
    """
    user = User.objects.filter(account=by.account_id, username=line.username).first()
    if user is None:
        return False
    if user.pk == by.pk and line.role not in {"", user.role}:
        error = _("An administrator cannot change the own role.")
        ImportLine.objects.filter(pk=line.pk, done=False).update(done=True, error=error)
        metrics.import_lines.labels("refused").inc()
        return True
    with people.as_administrator(by, by.account_id):
        if ImportLine.objects.filter(pk=line.pk, done=False).update(done=True):
            name, role = line.display_name or None, line.role or None
            people.edit(user, display_name=name, role=role, by=by)
            metrics.import_lines.labels("changed").inc()
    return True


def _hash(user: User, password: str) -> None:
    passwords.set_initial(user, password, must_change=True, when_idle=True)


def fetch(job: ImportJob, key: str) -> list[tuple[str, str]] | None:
    """Return the names and temporary passwords of an ended job, and forget the passwords.

    Return None while the job runs, or if the passwords have been fetched. Raise WrongBrowser.
    """
    try:
        private = PrivateKey(b64decode(key, validate=True))
    except (ValueError, TypeError):
        raise WrongBrowser from None
    if bytes(private.public_key) != b64decode(job.public_key):
        raise WrongBrowser
    box, now = SealedBox(private), clock.now()
    with transaction.atomic():
        ready = ImportJob.objects.filter(
            pk=job.pk, fetched_at=None, finished_at__gt=now - KEPT
        ).update(fetched_at=now)
        if not ready:
            return None
        created = job.lines.filter(sealed__isnull=False)
        rows = [
            (line.username, box.decrypt(bytes(line.sealed or b"")).decode())
            for line in created.order_by("number")
        ]
        created.update(sealed=None)
        by = job.started_by
        record(Action.IMPORT_FETCHED, actor=by, users=len(rows))
    return rows
