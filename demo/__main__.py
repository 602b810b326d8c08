"""`make demo`: run server and client on this machine, with sample users, to try out."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import sleep

from agent.i18n import translation
from agent.report import status_text, view_of
from demo.installation import Client, StageError, client_pc, running_server, seed
from server import clock
from server.config import ConfigError, StartError

INTRODUCTION = """
coconowork — demonstration on this machine. Everything is thrown away at the end (Ctrl-C).

  management console (管理機能)   {console}/
  smartphone app                 {console}/app/

  general user (一般ユーザ)                  {user.username:8} {user.password}
  account administrator (アカウント管理者)   {admin.username:8} {admin.password}

{more}
  - then update the stored password at the client:
      {update}

What the client does:"""
TO_TRY = """The client of "{user.username}" runs and waits. Things to try:
  - log in as "{admin.username}", choose ユーザ管理 and change a user's password there
  - log in as "{user.username}", choose パスワード変更 and leave the switch on:
    the client takes the new password automatically
  - the same with the switch off: the client goes on with the old password for 30 days"""
REHEARSAL = """"{user.username}" changed the password, the client is on the old one. Things to try:
  - go to other days; the client warns on each, and pages that are open follow:
      {console}/rehearsal/"""
MOST_DAYS = 365


def _demonstrate(directory: Path, *, port: int, gateway_port: int, day: int | None) -> None:
    if day is not None:
        clock.move(timedelta(days=-day))
    serving = running_server(directory / "server", port=port, gateway_port=gateway_port)
    with serving as (console, gateway), client_pc(directory) as client:
        user, admin = seed()
        client.log_in_at(gateway, user)
        client.environ["COCONOWORK_LOG_LEVEL"] = "warning"
        client.on_line = _say
        pause: Callable[[], object] = partial(sleep, 0.5)
        start, more = client.start, TO_TRY
        if day is not None:
            from demo.rehearsal import Rehearsal  # needs a server that has been set up

            rehearsal = Rehearsal(client, gateway, user)
            start, pause = partial(rehearsal.show, day), rehearsal.pause
            more, user = REHEARSAL, rehearsal.user
        texts = {"console": console, "user": user, "admin": admin}
        texts["update"] = f"{_home(client)} {sys.executable} -m agent update-password"
        print(INTRODUCTION.format(**texts, more=more.format(**texts)), flush=True)
        start()
        _watch(client, pause)


def _say(line: str) -> None:
    if line.startswith("["):  # a notification, which a client without a screen prints
        print(f"  {line}", flush=True)


def _watch(client: Client, pause: Callable[[], object]) -> None:
    """Print what the client does, whenever that changes, until Ctrl-C."""
    language = translation()
    said = ""
    try:
        while client.running:
            status = client.status()
            text = "" if status is None else status_text(view_of(status), language)
            if text not in {"", said}:
                said = text
                print(f"  {' · '.join(text.splitlines())}", flush=True)
            pause()
        print("The client has ended.")
    except KeyboardInterrupt:
        print("\nThe end.")


def _home(client: Client) -> str:
    """Return the words to put before another command of this client at a terminal."""
    names = ("COCONOWORK_HOME", "DBUS_SESSION_BUS_ADDRESS")
    pairs = [f"{name}={client.environ[name]}" for name in names if name in client.environ]
    if sys.platform == "win32":
        return " & ".join(f"set {pair}" for pair in pairs) + " &"
    return " ".join(["env", *pairs])


def _day(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 0 to {MOST_DAYS}")
    return int(text)


def main() -> int:
    """Run the demonstration until Ctrl-C; return the exit code."""
    from demo.private_keyring import DemoKeyringError

    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="of the console (8080)")
    parser.add_argument("--gateway-port", type=int, default=8081, help="of the gateway (8081)")
    parser.add_argument(
        "--day", metavar="DAY", type=_day, help="begin so many days after a change of the password"
    )
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        with tempfile.TemporaryDirectory(prefix="coconowork-demo-") as directory:
            _demonstrate(Path(directory), **vars(options))
    except (ConfigError, DemoKeyringError, StageError, StartError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
