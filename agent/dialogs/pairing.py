"""The codes of one log-in window, on the client's side of the pipe.

Each code is an attempt. Reports of an attempt after its end are dropped. So a window that
asks for another code never shows the earlier code, and a closed window leaves nothing behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from gettext import NullTranslations

from agent.address import Translate
from agent.core.failure import Failure, Reason
from agent.dialogs.messages import Accepted, CodeEnded, FromClient, Question, Refused, ShowCode
from agent.pairing import Ask, Code, PairingFailed, Show

log = logging.getLogger(__name__)

Pair = Callable[[str, Show, Ask], "Future[Reason | None]"]  # `App.pair`


@dataclass
class CodeAttempts:
    """The codes of one window, one after the other.

    The window's thread calls the methods; the client's loop calls what they pass to `pair`.
    """

    pair: Pair
    refused: Callable[[Reason, Translate], Refused]  # what the window says of a failed login
    translations: NullTranslations
    send: Callable[[FromClient], None] = field(default=lambda _: None, init=False)
    """Sends a message to the window."""
    _work: Future[Reason | None] | None = field(default=None, init=False)
    _agreed: Future[None] | None = field(default=None, init=False)
    """Done when the person at the PC agrees; each attempt has a future of its own."""

    def begin(self, server: str) -> None:
        """Get a code from this server, in place of an earlier one."""
        self.end()
        self._agreed = agreed = Future[None]()
        work = self.pair(server, partial(self._show, agreed), partial(self._ask, agreed))
        self._work = work
        work.add_done_callback(partial(self._on_done, agreed))

    def confirm(self) -> None:
        """Go on: the person at the PC has agreed."""
        if self._agreed is not None and self._agreed.set_running_or_notify_cancel():
            self._agreed.set_result(None)

    def end(self) -> None:
        """Forget the code, and cancel its attempt."""
        self._agreed = None
        if (work := self._work) is not None:
            self._work = None
            work.cancel()

    # --- on the loop's thread

    def _show(self, agreed: Future[None], code: Code) -> None:
        if agreed is self._agreed:
            words = code.words_in(self.translations)
            self.send(ShowCode(code.text, words, code.expires_in_s))

    def _ask(self, agreed: Future[None], user: str) -> Future[None]:
        if agreed is self._agreed:
            self.send(Question(user))
        return agreed

    def _on_done(self, agreed: Future[None], work: Future[Reason | None]) -> None:
        """Tell the window about the end, unless the window itself has ended the attempt."""
        if agreed is self._agreed:
            self._agreed = self._work = None
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
            if reason is None:
                return Accepted()
            return CodeEnded(self.refused(reason, self.translations.gettext).text)
        return CodeEnded("\n".join(failed.sentences(self.translations)))
