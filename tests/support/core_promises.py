"""Check what holds at every moment. core_driver.py calls this after each event."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core import effects as do
from agent.core.credentials import Credentials, Identity
from agent.core.effects import Effect
from agent.core.events import Event

if TYPE_CHECKING:
    from tests.support.core_driver import World

SECRETS = ["Passw0rd!", "Second-2nd", "Third+3rd", "Wrong-000"]


def hold(world: World, event: Event, effects: list[Effect]) -> None:
    """Assert that no secret can be logged, and that only proven passwords are stored."""
    parts = [vars(part) for part in vars(world.machine).values() if hasattr(part, "__dict__")]
    shown = f"{event!r} {effects!r} {world.view!r} {vars(world.machine)!r} {parts!r}"
    secrets = [*SECRETS, *(record.device_key for record in world.vault.values())]
    for secret in secrets:
        assert secret not in shown, f"a secret in {type(event).__name__}"
    for effect in effects:
        if isinstance(effect, do.WriteVault):
            before = world.vault.get(effect.identity)
            known = {before.password} if before else set()
            known |= {word for user, word in world.proven if user == effect.identity.user}
            assert effect.credentials.password in known, "stored without proof"


def works(world: World, identity: Identity, record: Credentials | None) -> bool:
    """Return whether a client that starts with `record` can log in.

    `rejected` is not signed: in the middle it can be made up. Then a stored password counts that
    is marked as refused, because the client asks its user and takes it again.
    """
    words = record.usable() if record else []
    if world.attacked and record:
        words = [record.password, record.pending.password if record.pending else ""]
    for word in words:
        with suppress(KeyError):
            world.accounts[identity.user].standing(word, world.server_now)
            return True
    return False
