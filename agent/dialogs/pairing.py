"""What one log-in window has under way with a code, on the client's side of the pipe.

Each code is an attempt. What an attempt still reports after its end is dropped. So a window that
asks for another code never shows the one before it, and a closed window leaves nothing behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from gettext import NullTranslations

from agent.core.failure import Failure, Reason
from agent.dialogs.messages import Accepted, CodeEnded, FromClient, Question, ShowCode
from agent.pairing import Code, PairingFailed

log = logging.getLogger(__name__)

Pair = Callable[
    [str, Callable[[Code], None], Callable[[str], "Future[None]"]], "Future[Reason | None]"
]
"""`App.pair`."""


class CodeAttempts:
    """The codes of one window, one after the other.

    `send` reaches the window. `refused` returns what it says about a login that failed. The
    window's thread calls the methods, the client's loop what they hand to `pair`.
    """

    def __init__(
        self, pair: Pair, *, refused: Callable[[Reason], str], translations: NullTranslations
    ) -> None:
        self.send: Callable[[FromClient], None] = lambda _: None
        self._pair = pair
        self._refused = refused
        self._translations = translations
        self._attempt: object | None = None
        self._work: Future[Reason | None] | None = None
        self._agreed: Future[None] = Future()

    def begin(self, server: str) -> None:
        """Get a code from this server, in place of an earlier one."""
        self.end()
        self._attempt = attempt = object()
        agreed = self._agreed = Future[None]()
        show, ask = partial(self._show, attempt), partial(self._ask, attempt, agreed)
        self._work = work = self._pair(server, show, ask)
        work.add_done_callback(partial(self._on_done, attempt))

    def confirm(self) -> None:
        """Go on: the person at the PC has agreed."""
        if self._agreed.set_running_or_notify_cancel():
            self._agreed.set_result(None)

    def end(self) -> None:
        """Forget the code, and what it has led to."""
        self._attempt = None
        if (work := self._work) is not None:
            self._work = None
            work.cancel()

    # --- on the loop's thread

    def _show(self, attempt: object, code: Code) -> None:
        if attempt is self._attempt:
            words = code.words_in(self._translations)
            self.send(ShowCode(code.text, words, code.expires_in_s))

    def _ask(self, attempt: object, agreed: Future[None], user: str) -> Future[None]:
        if attempt is self._attempt:
            self.send(Question(user))
        return agreed

    def _on_done(self, attempt: object, work: Future[Reason | None]) -> None:
        """Tell the window about the end, unless the window itself has ended the attempt."""
        if attempt is self._attempt:
            self._attempt = self._work = None
            self.send(self._outcome(work))

    def _outcome(self, work: Future[Reason | None]) -> FromClient:
        try:
            reason = work.result()
        except CancelledError:  # the PC goes to sleep, or the client ends
            failed = PairingFailed(Failure(Reason.EXPIRED))
        except PairingFailed as exc:
            log.warning("pairing: %s", exc)
            failed = exc
        except Exception:
            log.exception("pairing: unexpected")
            failed = PairingFailed(Failure(Reason.INTERNAL))
        else:
            return Accepted() if reason is None else CodeEnded(self._refused(reason))
        return CodeEnded("\n".join(failed.sentences(self._translations)))
