"""`coconowork-client login --code`: shows the code at a terminal, and asks about its user."""

from __future__ import annotations

import asyncio
from gettext import NullTranslations

from agent import prompts
from agent.core import wording
from agent.core.failure import Failure, Reason
from agent.pairing import Code, PairingFailed, Received, receive_password
from agent.settings import Settings
from agent.threads import DaemonThreads
from protocol.pairing import CODE_SECONDS


def receive_at_terminal(
    server: str, settings: Settings, translations: NullTranslations
) -> Received | None:
    """Return a user's password; None unless the person here agrees. Raise PairingFailed."""
    _ = translations.gettext

    def show(code: Code) -> None:
        lines = [
            wording.code_steps(settings.console_url, _),
            f"\n    {code.text}    {'  '.join(code.words_in(translations))}\n",
            wording.code_validity(code.expires_in_s // 60, translations),
        ]
        print("\n".join(lines), flush=True)

    async def receive() -> Received:
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        return await receive_password(server, settings, show)

    received = asyncio.run(receive())
    question = _("Connect this PC as the user {user}?").format(user=received.user)
    agrees = prompts.agrees(f"{question} [y/N] ", within_s=CODE_SECONDS)
    if agrees is None:
        raise PairingFailed(Failure(Reason.EXPIRED, detail="not confirmed"))
    return received if agrees else None
