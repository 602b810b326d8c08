"""The command line: `python -m agent`. This module parses, calls and prints, and does no more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from gettext import NullTranslations
from time import monotonic, sleep
from types import SimpleNamespace as Namespace

from agent import prompts
from agent.core import wording
from agent.core.failure import Reason
from agent.core.state import State
from agent.errors import AgentError, Defect, UserError
from agent.i18n import translation
from agent.paths import Paths, find_paths
from agent.ports import ChannelBusy, ChannelError, NotRunning, Request
from agent.program import harden, share_one_heap, spare_imports, spare_platform, starts_tray_program
from agent.settings import Settings
from protocol.text import N_

OK, FAILED, NOT_RUNNING, DEFECT, NO_ANSWER = 0, 1, 3, 4, 5
"""Exit codes; argparse's own for wrong usage is 2. DEFECT: a defect has ended the client."""
_STATUS_CODES = {
    State.STANDBY: OK,
    State.STANDBY_OLD_PASSWORD: 10,
    State.NEEDS_PASSWORD: 12,
    State.LOGGED_OUT: 13,
}
_NOT_CONNECTED = 11  # exit code of `status` in every other state
ANSWER_S = 5.0  # seconds that a running client may take to answer at all
LOGIN_S = 90.0  # seconds that a login or logout may take, with key derivation and keyring

_CHANNEL_REASONS = {
    "logged_out": N_("No user is logged in. Use `login` first."),
    "bad_address": N_("The server's address or the user name cannot be used."),
    "enforced": N_("Your administrator has set the server or the user name."),
}


class NoAnswer(AgentError):
    """A client is running, and does not answer."""


@dataclass
class Call:
    """One call of the program: its options, its settings, and ways to answer the caller."""

    options: Namespace
    paths: Paths
    translations: NullTranslations
    settings: Settings = field(default_factory=Settings)
    notices: list[tuple[str, str]] = field(default_factory=list)  # titles and texts for the user

    def _(self, text: str) -> str:
        return self.translations.gettext(text)

    def say(self, text: str) -> int:
        print(text)
        return OK

    def complain(self, title: str, message: str = "") -> int:
        print(title + (f"\n{message}" if message else ""), file=sys.stderr)
        return FAILED

    def give_up(self, title: str, message: str) -> int:
        """Print why the program ends. `run` also logs it, and shows it if a user gave the command.

        At a sign-in to Windows there may be no user at the PC, and a window would wait for ever.
        """
        if self.options.command == "run":
            from agent import dialogs, logs

            logs.set_up(self.paths.log_file, to_stderr=False)
            logs.log.error("the client does not start: %s: %s", title, message)
            if sys.stderr is None and not self.options.autostart:
                dialogs.tell(title, message)
        return self.complain(title, message)

    def complain_about(self, answer: Request) -> int:
        """Print the reason in a refusal from the control channel."""
        reason = str(answer.get("reason"))
        try:
            return self.complain(*wording.trouble(Reason(reason), self._))
        except ValueError:
            return self.complain(self._(_CHANNEL_REASONS.get(reason, reason)))

    def ask(self, request: Request, timeout_s: float = ANSWER_S) -> Request | None:
        """Return the running client's answer, None when no client runs. Raise NoAnswer."""
        import asyncio

        from agent.desktop import open_channel

        try:
            return asyncio.run(open_channel(self.paths).ask(request, timeout_s=timeout_s))
        except NotRunning:
            return None
        except ChannelError as exc:
            raise NoAnswer(str(exc)) from None

    def ask_or_be_the_client(self, request: Request) -> Request:
        """Return the running client's answer; if no client runs, be the client for this request.

        Raise NoAnswer, within ANSWER_S when the running client is frozen.
        """
        from agent import desktop

        end = monotonic() + ANSWER_S
        while True:
            if self.ask({"command": "status"}) and (answer := self.ask(request, LOGIN_S)):
                return answer
            try:
                return desktop.run_once(request, self.settings, self.paths, self.translations)
            except ChannelBusy as exc:
                # A client has just started and will listen in a moment, or its channel is lost.
                if monotonic() > end:
                    raise NoAnswer(str(exc)) from None
            sleep(0.1)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    if arguments is None:
        arguments = sys.argv[1:]
    _make_streams_safe()
    spare_platform()
    spare_imports()
    paths = find_paths()
    call = Call(_parse(arguments, paths), paths, translation())
    try:
        call.settings = _load_settings(call)
        call.translations = translation(call.settings.language)
        return int(_COMMANDS[call.options.command](call))
    except UserError as exc:
        return call.give_up(exc.title, exc.message)
    except UnicodeDecodeError:
        return call.complain(call._("Standard input is not text in UTF-8 or UTF-16."))
    except NoAnswer:
        call.give_up(*wording.both(wording.NO_ANSWER, call._))
        return NO_ANSWER
    except (AgentError, OSError) as exc:
        stopped = call.options.command == "run"
        what = call._("coconowork client has stopped") if stopped else call._("That did not work")
        return call.give_up(what, str(exc))
    except KeyboardInterrupt:
        return FAILED


def _load_settings(call: Call) -> Settings:
    """Return the settings. `run`, `login` and `dialog` rename a broken file; the others raise."""
    from agent import settings

    try:
        found = settings.load(call.paths, translate=call._)
    except settings.BrokenSettings as exc:
        if call.options.command not in {"run", "login", "dialog"}:
            raise
        aside, restored = settings.set_aside(call.paths)
        what = (
            call._("The file was renamed to {aside}, and the last good settings are used.")
            if restored
            else call._("The file was renamed to {aside}. Log in again.")
        )
        call.notices.append((exc.title, f"{exc.message}\n{what.format(aside=aside.name)}"))
        found = settings.load(call.paths, translate=call._)
    title = call._("A setting cannot be used")
    call.notices += [(title, problem) for problem in found.problems]
    if call.options.command == "run":
        settings.keep_copy(call.paths)
    return found


def _parse(arguments: list[str], paths: Paths) -> Namespace:
    """Return the options. The usual start and windows need no argparse, which is large."""
    if arguments in ([], ["run"], ["run", "--autostart"]):
        return Namespace(command="run", autostart="--autostart" in arguments)
    if arguments[:1] == ["dialog"] and len(arguments) == 2:
        return Namespace(command="dialog", name=arguments[1])
    from agent import settings
    from agent.command_line import parse

    language = "auto"
    with suppress(UserError, OSError):  # reported once the command is known
        language = settings.load(paths).language
    return Namespace(**vars(parse(arguments, translation(language).gettext)))


# --- commands


def _run(call: Call) -> int:
    if starts_tray_program():
        return OK
    share_one_heap()
    from agent import desktop, logs

    try:
        desktop.run(
            call.settings,
            call.paths,
            call.translations,
            notices=call.notices,
            at_sign_in=call.options.autostart,
        )
    except ChannelBusy as exc:
        logs.log.info("the client ends: %s", exc)
        if not call.options.autostart:
            call.ask({"command": "show"})
            call.say(call._("The client is running already."))
    except Defect as exc:
        call.complain(str(exc))
        return DEFECT
    return OK


def _status(call: Call) -> int:
    try:
        answer = call.ask({"command": "status"})
    except NoAnswer:
        if not call.options.json:
            raise
        call.say('{"state": "no_answer"}')
        return NO_ANSWER
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

        call.say(json.dumps(answer["status"]))  # ASCII, which fits every code page
    else:
        call.say(status_text(view, call.translations))
    return _STATUS_CODES.get(view.state, _NOT_CONNECTED)


def _login(call: Call) -> int:
    for title, message in call.notices:
        call.complain(title, message)
    from agent.address import normalise_server
    from agent.settings import normalise_user

    server = call.options.server or call.settings.server or prompts.prompt(call._("Server: "))
    if call.options.code:
        return _login_by_code(call, normalise_server(server, call._))
    user = call.options.user or call.settings.user or prompts.prompt(call._("User name: "))
    server, user = normalise_server(server, call._), normalise_user(user, call._)
    return _log_in(call, {"command": "login", "server": server, "user": user})


def _login_by_code(call: Call, server: str) -> int:
    from agent.pairing import PairingFailed, receive_at_terminal

    harden()
    if server != (call.settings.only_server or server):
        return call.complain_about({"reason": "enforced"})
    if not prompts.at_terminal():
        return call.complain(
            call._("A code needs a person at a terminal."),
            call._("Run this command in a terminal, or log in with your password."),
        )
    try:
        received = receive_at_terminal(server, call.settings, call.translations)
    except PairingFailed as exc:
        return call.complain(*exc.sentences(call.translations))
    if received is None:
        return call.complain(call._("Nothing was changed."))
    request = {"command": "login", "server": server, "user": received.user}
    return _send_login(call, {**request, "device_key": received.device_key}, received.password)


def _update_password(call: Call) -> int:
    if call.settings.identity is None:
        return call.complain_about({"reason": "logged_out"})
    return _log_in(call, {"command": "update-password"})


def _log_in(call: Call, request: Request) -> int:
    harden()
    password = prompts.password(call._("Password: "))
    if problem := wording.password_problem(password, call._):
        return call.complain(problem, call._("Nothing was changed."))
    return _send_login(call, request, password)


def _send_login(call: Call, request: Request, password: str) -> int:
    answer = call.ask_or_be_the_client({**request, "password": password})
    if not answer.get("ok"):
        call.complain_about(answer)
        if hint := wording.password_hint(password, call._):
            call.complain(hint)
        return call.complain(call._("Nothing was changed."))
    call.say(call._("The password is right and has been stored."))
    unsaved = wording.both(wording.UNSAVED, call._)
    return call.complain(*unsaved) if answer.get("unsaved") else OK


def _logout(call: Call) -> int:
    answer = call.ask_or_be_the_client({"command": "logout"})
    if not answer.get("ok"):
        return call.complain_about(answer)
    return call.say(call._("The stored password has been removed."))


def _quit(call: Call) -> int:
    if call.ask({"command": "quit", "update": call.options.update}) is None:
        call.say(call._("Not running."))
        return NOT_RUNNING
    return OK


def _doctor(call: Call) -> int:
    import asyncio

    from agent import desktop, doctor

    harden()
    channel, vault = desktop.open_channel(call.paths), desktop.open_vault()
    return asyncio.run(doctor.run(call.settings, channel, vault, call.translations, call.say))


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


# --- what the commands share


def _make_streams_safe() -> None:
    """Replace what a terminal cannot show; write to pipes in the console's code page."""
    encoding = None
    if sys.platform == "win32":
        import ctypes

        if page := ctypes.windll.kernel32.GetConsoleOutputCP():  # 0: there is no console
            encoding = f"cp{page}"
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
            if not stream.isatty():
                with suppress(LookupError):
                    stream.reconfigure(encoding=encoding)


if __name__ == "__main__":
    sys.exit(main())
