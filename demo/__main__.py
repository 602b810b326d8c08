"""`make demo`: run server and client on this machine, with sample users, to try out."""

from __future__ import annotations

import argparse
import io
import secrets
import string
import sys
import tempfile
from pathlib import Path
from time import sleep

from agent.i18n import translation
from agent.report import status_text, view_of
from demo.installation import Client, Sample, StageError, client_pc, running_server, seed
from server.config import ConfigError, StartError

INTRODUCTION = """
coconowork — demonstration on this machine. Everything is thrown away at the end (Ctrl-C).

  management console (管理機能)   {console}/
  smartphone app                 {console}/app/

  general user (一般ユーザ)                  {user.username:8} {user.password}
  account administrator (アカウント管理者)   {admin.username:8} {admin.password}

The client of "{user.username}" runs and waits. Things to try:
  - log in as "{user.username}", choose パスワード変更 and leave the switch on:
    the client takes the new password automatically
  - the same with the switch off: the client goes on with the old password for 30 days
  - then update the stored password at the client:
      {update}
  - log in as "{admin.username}", choose ユーザ管理 and change a user's password there

What the client does:"""


def _demonstrate(directory: Path, port: int, gateway_port: int) -> None:
    user = Sample("tanaka", "田中 花子", sample_password())
    admin = Sample("kanri", "管理 太郎", sample_password())
    with (
        running_server(directory / "server", port=port, gateway_port=gateway_port) as addresses,
        client_pc(directory) as client,
    ):
        seed("ココナ商事", admin, [user])
        code, said = client.command(
            "login", "--server", addresses.gateway, "--user", user.username, answer=user.password
        )
        if code != 0:
            raise StageError(f"the client could not log in: {said}")
        print(
            INTRODUCTION.format(
                console=addresses.console,
                user=user,
                admin=admin,
                update=f"{_home(client)} {sys.executable} -m agent update-password",
            ),
            flush=True,
        )
        _watch(client)


def _watch(client: Client) -> None:
    """Print what the client does, whenever that changes, until Ctrl-C."""

    def on_line(line: str) -> None:
        if line.startswith("["):  # a notification, which a client without a screen prints
            print(f"  {line}", flush=True)

    client.environ["COCONOWORK_LOG_LEVEL"] = "warning"
    client.start(on_line=on_line)
    language = translation()
    said = ""
    try:
        while client.running:
            status = client.status()
            text = "" if status is None else status_text(view_of(status), language)
            if text not in {"", said}:
                said = text
                print(f"  {' · '.join(text.splitlines())}", flush=True)
            sleep(0.5)
        print("The client has ended.")
    except KeyboardInterrupt:
        print("\nThe end.")


def _home(client: Client) -> str:
    """Return what a terminal needs before another command of this client."""
    names = ("COCONOWORK_HOME", "DBUS_SESSION_BUS_ADDRESS")
    pairs = [f"{name}={client.environ[name]}" for name in names if name in client.environ]
    if sys.platform == "win32":
        return " & ".join(f"set {pair}" for pair in pairs) + " &"
    return " ".join(["env", *pairs])


def sample_password() -> str:
    """Return a random password by the rules. It is printed: for the demonstration only."""
    body = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
    return f"{body}-{secrets.randbelow(900) + 100}A"


def main() -> int:
    """Run the demonstration until Ctrl-C; return the exit code."""
    from demo.private_keyring import DemoKeyringError

    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="of the console (8080)")
    parser.add_argument("--gateway-port", type=int, default=8081, help="of the gateway (8081)")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        with tempfile.TemporaryDirectory(prefix="coconowork-demo-") as directory:
            _demonstrate(Path(directory), options.port, options.gateway_port)
    except (ConfigError, DemoKeyringError, StageError, StartError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
