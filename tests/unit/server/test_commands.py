"""The commands that an operator types, in this process and on the tests' database."""

from __future__ import annotations

import io
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server import config
from server.__main__ import main
from server.console.models import Account, AuditEvent, User
from tests.support.server_fixtures import P2, P3, MakeUser

Command = Callable[..., tuple[int, str, str]]
REFUSED_SERVE = [
    (["--host=0.0.0.0"], "trusted_proxies"),
    (["--host=::", "--public-url=https://c.example"], "--behind-proxy"),
    (["--host=0.0.0.0", "--behind-proxy=10.0.0.0/8"], "--public-url"),
    (["--public-url=https://c.example"], "--behind-proxy"),
    (["--host=203.0.113.1", "--behind-proxy=::1", "--public-url=https://c.example"], "cannot"),
    (["--only=gateway"], "`database`"),
]
SNAPSHOT = ("username", "password", "is_active", "role", "display_name", "account__name")


@pytest.fixture(autouse=True)
def process_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set English; undo changes of the process by a command."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COCONOWORK_SERVER_DATA_DIR", str(tmp_path))
    root, mask = logging.getLogger(), os.umask(0o022)
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    os.umask(mask)


@pytest.fixture
def command(
    database: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`command("users", "list", stdin="")` returns the exit code, the output and the errors."""
    monkeypatch.setattr(config, "load", lambda **_: config.current())

    def run(*arguments: str, stdin: str | None = "") -> tuple[int, str, str]:
        typed = None if stdin is None else io.BytesIO(os.fsencode(stdin))
        monkeypatch.setattr(sys, "stdin", typed and io.TextIOWrapper(typed, "utf-8"))
        return main(arguments), *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ("users list --account missing", "", "no account missing"),
        ("users disable --user missing --yes", "", "no user missing"),
        ("users disable --user ADMIN --yes", "", "last enabled administrator"),
        ("users disable --user USER", "ｎ\n", "Nothing was done"),
        ("users disable --account ACCOUNT", "", "Nothing was done"),
        ("users rename --account ACCOUNT --to=", "", "cannot be blank"),
        (f"users rename --user USER --to {'x' * 151}", "", "150"),
        ("users unlock --user missing", "", "no user missing"),
        ("createadmin --account=ACCOUNT --user=USER", P2, "is taken"),
        ("createadmin --account=ACCOUNT --user=other", "", "standard input"),
        ("createadmin --account=ACCOUNT --user=other", "short", "8 to 64"),
        ("createadmin --account=\u3000 --user=other", P2, "blank"),
        ("createadmin --account=ACCOUNT --user=a,b", P2, "letters"),
        ("reset-password --user missing", f"y\n{P3}\n", "no user missing"),
        ("reset-password --user USER", f"\n{P3}\n", "Nothing was done"),
        ("reset-password --user USER", None, "Nothing was done"),
        ("reset-password --user USER", "y\nshort\n", "8 to 64"),
        ("reset-password --user USER", f"y\n{P2}\n", "neither the current password"),
        ("reset-password --user USER", "y\n", "standard input"),
        ("reset-password --user USER --yes", None, "A password is needed"),
        ("reset-password --user USER --yes", "\udcff\n", "half-width letters"),
    ],
)
@pytest.mark.usefixtures("administrator")
def test_refusals(
    command: Command, make_user: MakeUser, arguments: str, stdin: str | None, said: str
) -> None:
    """A refused command gives a clear error, and changes and records nothing."""
    user = make_user(P2)

    def everything() -> list[object]:
        return [*User.objects.values_list(*SNAPSHOT), AuditEvent.objects.count()]

    before, account = everything(), user.account
    administrator = account.users.get(role=User.Role.ADMINISTRATOR)
    names = {"ADMIN": administrator.username, "USER": user.username, "ACCOUNT": account.name}
    words = [re.sub("[A-Z]{4,}", lambda found: names[found[0]], w) for w in arguments.split(" ")]
    code, _, errors = command(*words, stdin=stdin)
    assert code == 1
    assert said in errors
    assert everything() == before


def test_each_action_on_users(command: Command, make_user: MakeUser, administrator: User) -> None:
    """Each action on users takes effect and is in the account's audit trail."""
    name = make_user(display_name="田中 一郎").username
    account, admin = administrator.account, administrator.username

    def users(*arguments: str, stdin: str = "") -> str:
        code, said, errors = command("users", *arguments, stdin=stdin)
        assert (code, errors) == (0, "")
        return said

    def enabled() -> dict[str, bool]:
        return dict(account.users.values_list("username", "is_active"))

    assert f"{account.name}\t2 of 2 users enabled" in users("list")
    assert f"{name}\tgeneral user\t田中 一郎\n" in users("list", "--account", account.name)
    users("disable", "--user=" + name.replace("u", "ｕ"), stdin="ｙ\n")
    assert enabled() == {admin: True, name: False}
    users("disable", "--account", account.name, "--yes")
    assert enabled() == {admin: False, name: False}
    said = users("enable", "--account", account.name)
    assert "stay disabled, because they were so before: 1" in said
    assert enabled() == {admin: True, name: False}
    users("enable", f"--user={name}")
    assert enabled() == {admin: True, name: True}
    users("rename", f"--user={name}", "--to=新田 一郎")
    users("rename", f"--account={account.name.upper()}", "--to=\033[31m株式会社\tここな")
    account.refresh_from_db()
    assert account.name == "[31m株式会社 ここな"
    assert "was unlocked" in users("unlock", f"--user={name}")
    trail = AuditEvent.objects.filter(account=account, actor=None).order_by("id")
    assert list(trail.values_list("action", "subject_name")) == [
        ("user.disabled", name),
        ("user.disabled", admin),
        ("user.enabled", admin),
        ("user.enabled", name),
        ("user.edited", name),
        ("account.renamed", ""),
        ("login.unlocked", name),
    ]


def test_createadmin(command: Command) -> None:
    """`createadmin` makes an account once; invisible characters make no second, similar one."""
    for number, typed in enumerate(("ACME", "A\u202eCME", "ACME\x07\n", "\u3000ＡＣＭＥ")):
        name = f"keeper{number}"
        code, said, _ = command("createadmin", f"--account={typed}", f"--user={name}", stdin=P2)
        assert code == 0
        assert f"Administrator {name} of ACME has been created." in said
    [account] = Account.objects.filter(name__icontains="acme")
    made = account.users.values_list("role", "must_change_password")
    assert list(made) == [(User.Role.ADMINISTRATOR, False)] * 4
    assert account.users.get(username="keeper0").password.startswith("scram_sha256$600000$")


def test_reset_password(command: Command, administrator: User) -> None:
    """`reset-password` records a forced change without an actor; the password may be kept."""
    reset = ("reset-password", f"--user={administrator.username}")
    assert command(*reset, stdin=f"y\n{P2}\n")[0] == 0
    administrator.refresh_from_db()
    assert administrator.check_password(P2)
    assert not administrator.must_change_password
    [event] = AuditEvent.objects.filter(subject=administrator)
    assert (event.action, event.actor) == ("password.forced", None)


def test_odd_terminals(
    command: Command,
    make_user: MakeUser,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commands cope with a closed output, one without Japanese, and bytes that are no text."""
    account = make_user(display_name="田中").account
    listing = ("users", "list", f"--account={account.name}")
    with pytest.raises(SystemExit, match="2"):
        command("users", "list", "--account=\udcff")
    assert "bytes that are no text" in capsys.readouterr().err
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))
    assert command(*listing)[0] == 0
    assert rb"\u7530\u4e2d" in shown.getvalue()
    monkeypatch.setattr(sys, "stdout", None)
    assert command(*listing)[0] == 0


@pytest.mark.parametrize(("options", "said"), REFUSED_SERVE)
def test_serve_refuses(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`serve` refuses unsafe or wrong settings, and names the option."""
    assert main(["serve", *options]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("named", ["--port", "`metrics`"])
def test_port_in_use(
    named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the port in use and its option or setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if named == "`metrics`":
            monkeypatch.setenv("COCONOWORK_SERVER_METRICS", f"127.0.0.1:{port}")
        assert main(["serve", f"--port={port}"]) == 1
    said = capsys.readouterr().err
    assert f"port {port} is in use" in said
    assert named in said
