"""The command line: `python -m agent`. Calls and prints; everything else is elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from gettext import NullTranslations
from types import SimpleNamespace as Namespace

from agent.core import wording
from agent.core.failure import Reason
from agent.errors import AgentError, UserError
from agent.i18n import translation
from agent.paths import Paths, find_paths
from agent.ports import ChannelBusy, ChannelError, Request
from agent.settings import Settings
from protocol.text import N_

OK, FAILED, NOT_RUNNING = 0, 1, 3
"""Exit codes; argparse's own for wrong usage is 2."""
ASK_S = 90.0
"""Seconds that a running client may take for a login, key derivation and keyring included."""

_CHANNEL_REASONS = {
    "logged_out": N_("Nobody is signed in. Use `login` first."),
    "bad_address": N_("The server's address or the user name cannot be used."),
}


@dataclass
class Call:
    """One call of the program, and how it speaks to whoever made it."""

    options: Namespace
    paths: Paths
    translations: NullTranslations
    settings: Settings = field(default_factory=Settings)
    news: list[tuple[str, str]] = field(default_factory=list)
    """What the user has to hear of, each with title and text."""

    def _(self, text: str) -> str:
        return self.translations.gettext(text)

    def say(self, text: str) -> int:
        print(text)
        return OK

    def complain(self, title: str, message: str = "") -> int:
        print(title + (f"\n{message}" if message else ""), file=sys.stderr)
        return FAILED

    def give_up(self, title: str, message: str) -> int:
        """Without a terminal, a client that ends says so in a window: its icon is gone."""
        if sys.stderr is None and self.options.command == "run":
            from agent import dialogs as dialog

            dialog.tell(title, message)
        return self.complain(title, message)

    def complain_about(self, answer: Request) -> int:
        """A refusal as the control channel words it."""
        reason = str(answer.get("reason"))
        try:
            return self.complain(*wording.trouble(Reason(reason), self._))
        except ValueError:
            return self.complain(self._(_CHANNEL_REASONS.get(reason, reason)))

    def ask(self, request: Request) -> Request | None:
        """The running client's answer, None when none is running."""
        from agent.control import ask

        try:
            return asyncio.run(ask(self.paths, request, timeout_s=ASK_S))
        except ChannelError:
            return None

    def ask_or_be_the_client(self, request: Request) -> Request:
        """The running client's answer, or that of one which runs for just this."""
        answer = self.ask(request)
        if answer is None:
            from agent import desktop

            answer = desktop.run_once(request, self.settings, self.paths, self.translations)
        return answer


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the answer is the exit code."""
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments == ["vault"]:  # what the client starts by itself, in a hurry
        from agent import vault_process

        return vault_process.main()
    _make_streams_safe()
    translations = translation()
    options = _parse(arguments, translations.gettext)
    call = Call(options, find_paths(), translations)
    try:
        call.settings = _load_settings(call)
        call.translations = translation(call.settings.language)
        return int(_COMMANDS[call.options.command](call))
    except UserError as exc:
        return call.give_up(exc.title, exc.message)
    except (AgentError, OSError) as exc:
        return call.give_up(call._("coconowork client has stopped"), str(exc))
    except KeyboardInterrupt:
        return FAILED


def _load_settings(call: Call) -> Settings:
    """For a client that is to run, a broken file is set aside; other commands only say so."""
    from agent import settings, settings_copy

    try:
        found = settings.load(call.paths, translate=call._)
    except settings.BrokenSettings as exc:
        if call.options.command not in {"run", "login", "dialog"}:
            raise
        aside, restored = settings_copy.set_aside(call.paths)
        what = (
            call._("The file was renamed to {aside}, and the last good settings are used.")
            if restored
            else call._("The file was renamed to {aside}. Sign in again.")
        )
        call.news.append((exc.title, f"{exc.message} {what.format(aside=aside.name)}"))
        found = settings.load(call.paths, translate=call._)
    if call.options.command == "run":
        settings_copy.keep_copy(call.paths)
    return found


def _parse(arguments: list[str], translate: Callable[[str], str]) -> Namespace:
    """The usual start needs no parser, and the program that stays carries none."""
    if arguments in ([], ["run"], ["run", "--autostart"]):
        return Namespace(command="run", autostart="--autostart" in arguments)
    from agent.command_line import parse

    return Namespace(**vars(parse(arguments, translate)))


# --- commands


def _run(call: Call) -> int:
    from agent.program import share_one_heap
    from agent.vault_process import ProcessVault

    share_one_heap()
    vault = ProcessVault()
    if call.settings.identity is not None:
        vault.prepare()  # it starts while this process imports the rest
    from agent import desktop

    try:
        desktop.run(call.settings, call.paths, call.translations, vault, call.news)
    except ChannelBusy:
        if not call.options.autostart:
            call.ask({"command": "show"})
            call.say(call._("The client is running already."))
    return OK


def _status(call: Call) -> int:
    answer = call.ask({"command": "status"})
    if answer is None:
        call.say('{"state": "not_running"}' if call.options.json else call._("Not running."))
        return NOT_RUNNING
    from agent.report import status_text, view_of

    try:
        view = view_of(answer.get("status"))
    except ValueError:  # a client of another version, or a defect
        return call.complain_about({"reason": Reason.INTERNAL.value})
    if call.options.json:
        import json

        return call.say(json.dumps(answer["status"], ensure_ascii=False))
    return call.say(status_text(view, call.translations))


def _login(call: Call) -> int:
    for title, message in call.news:
        call.complain(title, message)
    from agent.address import normalise_server
    from agent.settings import normalise_user

    server = call.options.server or call.settings.server or _prompt(call._("Server: "))
    user = call.options.user or call.settings.user or _prompt(call._("User name: "))
    server, user = normalise_server(server, call._), normalise_user(user, call._)
    return _sign_in(call, {"command": "login", "server": server, "user": user})


def _update_password(call: Call) -> int:
    if call.settings.identity is None:
        return call.complain_about({"reason": "logged_out"})
    return _sign_in(call, {"command": "update-password"})


def _sign_in(call: Call, request: Request) -> int:
    from agent.hardening import harden

    harden()
    password = _password(call._("Password: "))
    if not password:
        return call.complain(call._("No password was entered. Nothing was changed."))
    answer = call.ask_or_be_the_client({**request, "password": password})
    if not answer.get("ok"):
        call.complain_about(answer)
        return call.complain(call._("Nothing was changed."))
    call.say(call._("The password is right and has been stored."))
    return call.complain(*wording.unsaved(call._)) if answer.get("unsaved") else OK


def _logout(call: Call) -> int:
    answer = call.ask_or_be_the_client({"command": "logout"})
    if not answer.get("ok"):
        return call.complain_about(answer)
    return call.say(call._("The stored password has been removed."))


def _quit(call: Call) -> int:
    if call.ask({"command": "quit"}) is None:
        call.say(call._("Not running."))
        return NOT_RUNNING
    return OK


def _doctor(call: Call) -> int:
    from agent import doctor
    from agent.hardening import harden

    harden()
    return asyncio.run(doctor.run(call.settings, call.paths, call.translations, call.say))


def _dialog(call: Call) -> int:
    from agent import dialogs as dialog

    return dialog.main(call.options.name, call.translations)


_COMMANDS: dict[str, Callable[[Call], int]] = {
    "run": _run,
    "status": _status,
    "login": _login,
    "update-password": _update_password,
    "logout": _logout,
    "quit": _quit,
    "doctor": _doctor,
    "dialog": _dialog,
}


# --- helpers


def _prompt(text: str) -> str:
    print(text, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() if sys.stdin else ""


def _password(prompt: str) -> str:
    """Typed unseen at a terminal, else the first line of standard input."""
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


def _make_streams_safe() -> None:
    """What a terminal cannot show is substituted; a program in the tray has no terminal."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
