"""`demo`: server and client together on this machine, with sample users, to try out by hand."""

from __future__ import annotations

import argparse
import secrets
import string
import sys
import tempfile
from pathlib import Path
from time import sleep

from agent.i18n import translation
from agent.report import status_text, view_of
from demo.installation import Client, Sample, StageError, client_pc, running_server, seed
from server.commands.serve import StartError
from server.config import ConfigError

INTRODUCTION = """
coconowork — demonstration on this machine. Everything is thrown away at the end (Ctrl-C).

  management console (管理機能)   {console}/
  smartphone app                 {console}/app/

  general user (一般ユーザ)                  {user.username:8} {user.password}
  account administrator (アカウント管理者)   {admin.username:8} {admin.password}

The client of "{user.username}" runs and waits. Things to try:
  - log in as "{user.username}", choose パスワード変更 and leave the switch on:
    the client takes the new password by itself
  - the same with the switch off: the client goes on with the old password for 30 days
  - then update the stored password at the client:
      {update}
  - log in as "{admin.username}", choose ユーザ管理 and change a user's password there

What the client does:"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `demo` takes."""
    parser.add_argument("--port", type=int, default=8080, help="of the console (8080)")
    parser.add_argument("--gateway-port", type=int, default=8081, help="of the gateway (8081)")


def run(arguments: argparse.Namespace) -> int:
    """Until Ctrl-C; the exit code. Raise StartError."""
    from demo.private_keyring import DemoKeyringError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        with tempfile.TemporaryDirectory(prefix="coconowork-demo-") as directory:
            _demonstrate(Path(directory), arguments.port, arguments.gateway_port)
    except (StageError, DemoKeyringError) as exc:
        raise StartError(str(exc)) from None
    return 0


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
            raise StageError(f"the client could not sign in: {said}")
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
    """Say what the client does, whenever that changes, until Ctrl-C."""

    def on_line(line: str) -> None:
        if line.startswith("["):  # a notification; with a screen it is on that
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
    """How to call another command of this client from a terminal."""
    names = ("COCONOWORK_HOME", "DBUS_SESSION_BUS_ADDRESS")
    pairs = [f"{name}={client.environ[name]}" for name in names if name in client.environ]
    if sys.platform == "win32":
        return " & ".join(f"set {pair}" for pair in pairs) + " &"
    return " ".join(["env", *pairs])


def sample_password() -> str:
    """A random one by the rules: it is printed, and good for this demonstration only."""
    body = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
    return f"{body}-{secrets.randbelow(900) + 100}A"


def main() -> int:
    """Run the demonstration; the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except (ConfigError, StartError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
