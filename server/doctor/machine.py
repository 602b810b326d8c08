"""Check this machine: files, free disk, and the services that run here."""

from __future__ import annotations

import http.client
import os
import shutil
import sys
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from server import config
from server.config import Config
from server.doctor.step import Facts, Step

TIMEOUT_SECONDS = 10
LITTLE_DISK, NO_DISK = 1024**3, 100 * 1024**2
"""Free bytes below which there is a warning, or a fault."""
_DATABASE_PARAMETERS = {
    "host", "hostaddr", "port", "dbname", "user", "passfile", "sslmode", "sslrootcert", "sslcert",
    "sslkey", "target_session_attrs", "service", "connect_timeout", "channel_binding",
}  # fmt: skip
"""Parameters of a database's address that are not secret; others are shown without value."""


def user_name(number: int | None = None) -> str:
    """Return the name of a system user: of the user id `number`, else of this process's user."""
    if sys.platform != "win32":
        import pwd

        number = os.geteuid() if number is None else number
        with suppress(KeyError):
            return pwd.getpwuid(number).pw_name
    return f"user {number}"


def shown(name: str, value: object) -> str:
    """Return a setting's value for people to read, without parts that may be secret."""
    if name == "database" and str(value).startswith(config.SCHEMES):
        found = config.parse_database_url(str(value))
        return " ".join(
            f"{key}={text if key in _DATABASE_PARAMETERS else '…'}" for key, text in found.items()
        )
    if name == "newest_client":
        release: object = getattr(value, "version", "")
        return f"{release} at {urlsplit(getattr(value, 'url', '')).hostname}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def files(step: Step, facts: Facts) -> None:
    """Check who owns the files, and who may read and change them."""
    found = facts.settings
    if name := os.environ.get(config.PREFIX + "CONFIG"):
        _look_at(step, Path(name), "settings", forbidden=0o002)
    _look_at(step, found.data_dir, "data folder", forbidden=0o007, is_written=True)
    _look_at(step, found.secret_key_path, "secret key", forbidden=0o007)
    if found.is_postgresql:
        if name := config.parse_database_url(found.database).get("passfile"):
            # libpq ignores a file that others may read.
            _look_at(step, Path(name), "PostgreSQL's password", forbidden=0o077)
        return
    path = found.database_path
    if path.parent != found.data_dir:
        _look_at(step, path.parent, "folder of the database", forbidden=0o002, is_written=True)
    _look_at(step, path, "database", forbidden=0o007, is_written=True)
    beside = [Path(f"{path}-wal"), Path(f"{path}-shm"), path.with_suffix(".lock")]
    for each in filter(os.path.exists, beside):
        _look_at(step, each, "beside it", forbidden=0o007, is_written=True)


def _look_at(
    step: Step, path: Path, what: str, *, forbidden: int, is_written: bool = False
) -> None:
    """Note a file's owner and mode. Report a fault if the mode has `forbidden` bits."""
    try:
        status = path.stat()
    except FileNotFoundError:
        step.warn(
            f"{what}: {path} is not there",
            "the first start makes database and secret key; other files are yours to make",
        )
        return
    except OSError as exc:
        step.fault(f"{what}: {path}: {exc.strerror}", "run this as the server's user, or as root")
        return
    mode = status.st_mode & 0o777
    step.note(f"{what}: {path}, {user_name(status.st_uid)}, {mode:o}")
    if mode & forbidden:
        step.fault(f"other users may read or change {path}", f"chmod {mode & ~0o077:o} {path}")
    if not os.access(path, os.R_OK) or (is_written and not os.access(path, os.W_OK)):
        verb = "change" if is_written else "read"
        step.fault(
            f"this user cannot {verb} {path}",
            f"give it to the server's user: chown coconowork: {path}",
        )


def disk(step: Step, facts: Facts) -> None:
    """Check the free space for what the server writes."""
    folder = facts.settings.data_dir
    if not facts.settings.is_postgresql:
        folder = facts.settings.database_path.parent
    while not os.path.exists(folder):  # noqa: PTH110 - False where permission is missing
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    step.note(f"{folder}: {free / 1024**3:,.1f} GiB free")
    if free < LITTLE_DISK:
        say = step.fault if free < NO_DISK else step.warn
        say("the disk is nearly full", "delete old copies of the database and logs, or enlarge it")


def services(step: Step, facts: Facts) -> None:
    """Check that console, gateway and metrics answer on this machine."""
    found, answers = facts.settings, {}
    if found.runs_console:
        answers["console"] = _is_served(step, found, "console", found.port)
    if found.runs_gateway:
        answers["gateway"] = _is_served(step, found, "gateway", found.gateway_port)
    away = [what for what, answered in answers.items() if not answered]
    if away:
        missing = f"no {' and no '.join(away)} answers on this machine"
        remedy = "systemctl start the service; `journalctl -u 'coconowork*'` says why it ended"
        if len(away) < len(answers) and found.is_postgresql:
            step.warn(missing, "right if another machine has it; else: " + remedy)
        else:
            step.fault(missing, remedy)
    if found.metrics:
        status, body = _get(*config.split_address(found.metrics), "/metrics")
        if status != 200 or "coconowork_" not in body:
            step.fail(f"metrics: nothing of this server at {found.metrics}", "start the server")
        step.note(f"metrics: {found.metrics}")


def _is_served(step: Step, settings: Config, what: str, port: int) -> bool:
    """Note what answers on a port, and return whether anything does."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - bound address: address to ask
    host = here.get(settings.host, settings.host)
    status, body = _get(host, port, "/healthz")
    if not status:
        step.note(f"{what}: nothing answers at {host} port {port}")
    elif body.strip() != "ok":
        step.fault(
            f"{what}: another program answers at {host} port {port}",
            "end it, or choose another port for this server",
        )
    elif _get(host, port, "/readyz")[0] == 200:
        step.note(f"{what}: ready at {host} port {port}")
    else:
        step.fault(
            f"{what}: runs at {host} port {port} and is not ready",
            "it cannot use its database: see that step, and the log",
        )
    return bool(status)


def _get(host: str, port: int, path: str) -> tuple[int, str]:
    """Return status and the body's first 100 kB; status 0 when nothing answers."""
    try:
        with closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(100_000).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
