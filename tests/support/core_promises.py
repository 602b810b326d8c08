"""Invariants of the machine. core_driver.py checks them after each event."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core import effects as do
from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.effects import Effect
from agent.core.events import Event, Timer
from agent.core.state import State
from protocol import messages as msg

if TYPE_CHECKING:
    from tests.support.core_driver import World

SECRETS = ["Passw0rd!", "Second-2nd", "Third+3rd", "Wrong-000"]


def hold(world: World, event: Event, effects: list[Effect]) -> None:
    """Assert that no secret can be logged, and that only proven passwords are stored."""
    shown = f"{event!r} {effects!r}"
    if not isinstance(event, ev.TimerFired):  # most events, without a secret
        parts = [vars(part) for part in vars(world.machine).values() if hasattr(part, "__dict__")]
        shown += f" {world.view!r} {vars(world.machine)!r} {parts!r}"
    secrets = [*SECRETS, *(record.device_key for record in world.vault.values())]
    for secret in secrets:
        assert secret not in shown, f"a secret in {type(event).__name__}"
    for effect in effects:
        if isinstance(effect, do.WriteVault):
            before = world.vault.get(effect.identity)
            known = {before.password} if before else set()
            known |= {word for user, word in world.proven if user == effect.identity.user}
            assert effect.credentials.password in known, "stored without proof"


def retries(world: World) -> None:
    """Assert that a time for the next try is set while the client retries, and only then."""
    assert (Timer.RETRY in world.timers) == (world.machine.state is State.RETRYING)


def works(world: World, identity: Identity, record: Credentials | None) -> bool:
    """Return whether a client that starts with `record` can log in.

    `rejected` is not signed, so an attacker in the middle can forge it. After an attack, a stored
    password marked as refused counts, too: the client asks its user and takes it again.
    """
    words = record.usable() if record else []
    if world.attacked and record:
        words = [record.password, record.pending.password if record.pending else ""]
    for word in words:
        with suppress(KeyError):
            world.accounts[identity.user].standing(word, world.server_now)
            return True
    return False


def on_proof(world: World, number: int, password: str) -> None:
    """Record the password of a proof. Assert that it was not refused before."""
    session = world.sessions.get(number)
    if session is None or session.closed or session.hello is None:
        return
    user = session.hello.scram.partition("n=")[2].partition(",")[0]
    world.tried.append(password)
    world.answering[number] = (user, password)
    assert world.answering[number] not in world.refused, "a refused password is sent again"


def on_delivery(world: World, event: Event) -> None:
    """Record a refusal that reaches the client."""
    match event:
        case ev.Received(number, msg.Rejected(reason="credentials" | "expired")):
            # Messages on an ended connection do not count. `expired` may concern the present login.
            counts = number == world.machine.connection.number
            if counts and number in world.answering and world.sessions[number].account is None:
                world.refused.add(world.answering[number])
        case ev.Received(number, msg.Challenge()):
            world.answering.pop(number, None)


def on_kill(world: World) -> None:
    """Forget refusals that are not stored: their passwords may be sent once more."""
    world.answering.clear()
    world.refused = {
        (identity.user, word)
        for identity, entry in world.vault.items()
        for word in (entry.password, entry.pending.password if entry.pending else "")
        if word not in entry.usable() and (identity.user, word) in world.refused
    }
