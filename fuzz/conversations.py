"""Fuzz target: the client's machine in conversations that a man in the middle changes.

An honest server answers a real machine. Messages are changed, dropped, doubled, put in another
order, replayed or made up. After each event, `tests/support/core_driver.py` checks that no secret
can be logged, nothing is stored without proof, and no password that works is lost.
"""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core import events as ev
from agent.core.credentials import Credentials, Identity
from agent.core.failure import Failure, Reason
from agent.core.saved_state import SavedState
from fuzz.file_targets import local_time, show
from fuzz.target import Target
from protocol import messages as msg
from tests.support import core_promises as promises
from tests.support.core_driver import HOME, P2, P3, WRONG, World

TIMES = [
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z"),
    *("2026-11-23T03:00:00.000000001Z", "2026-12-23T03:00:00+09:00"),
    *("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59"),
]
WORDS = ["current", "old", "", "credentials", "expired", "shutting_down", "\u202e", 0]
VALUES = st.one_of(
    st.none(),
    st.sampled_from(WORDS),
    st.sampled_from(TIMES),
    st.integers(-1, 100_000),
    st.text(max_size=20),
    st.just([[{}]]),
)
FIELDS = ["type", "scram", "password", "valid_until", "server_time", "reason", "retry_after_s",
          "sealed", "change_id", "console_url", "more"]  # fmt: skip
NOW, LATER = "2026-11-23T03:00:00Z", "2026-12-23T03:00:00Z"
EXAMPLES: dict[str, dict[str, Any]] = {
    "challenge": {"scram": "r=x,s=QUJDREVGR0hJSktMTU5P,i=600000"},
    "welcome": {"scram": "v=QUJD", "password": "current", "server_time": NOW},
    "rejected": {"reason": "throttled"},
    "password_changed": {"change_id": "e" * 32, "sealed": "A" * 96, "valid_until": LATER},
    "password_status": {"password": "old", "server_time": NOW, "valid_until": LATER},
    "bye": {"reason": "superseded"},
}
_INTERFERENCE = st.sampled_from(["drop", "double", "swap", "cut", "change", "restart"])


def _made_up() -> st.SearchStrategy[tuple[Any, ...]]:
    fields = st.dictionaries(st.sampled_from(FIELDS[1:]), VALUES, max_size=4)
    return st.tuples(st.just("make up"), st.sampled_from(list(EXAMPLES)), fields)


def steps() -> st.SearchStrategy[tuple[Any, ...]]:
    """Return what makes one step of a conversation; `Middle.do` carries it out."""
    return st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 4)),
        st.tuples(_INTERFERENCE),
        st.tuples(st.just("replay"), st.integers(0, 30)),
        st.tuples(st.just("bytes"), st.integers(0, 400), st.integers(0, 4), st.binary(max_size=4)),
        st.tuples(st.just("field"), st.sampled_from(FIELDS), VALUES),
        _made_up(),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 21.0, 400.0])),
        st.tuples(st.just("log in"), st.sampled_from([P2, P3, WRONG])),
    )


_works = promises.works
FRESH = [P2, P3, "Fourth4~4th", "Fifth5^5th"]


def _kept(world: World, identity: Identity, record: Credentials | None) -> bool:
    """Return whether a password that works is still stored, marked as refused or not.

    `rejected` is not signed, so a man in the middle can make the client ask the user.
    """
    if record is None:
        return False
    pending = replace(record.pending, refused=False) if record.pending else None
    return _works(world, identity, replace(record, refused=None, pending=pending))


class Middle:
    """Holds one conversation, between server and client."""

    def __init__(self) -> None:
        promises.works = _kept
        self.world = World()
        self.world.hold = {"server"}
        self.first = self.world.vault[HOME]
        self.heard: list[msg.ServerMessage] = []
        self.asked = False
        self.world.start()

    def do(self, step: tuple[Any, ...]) -> None:
        """Carry out one step, as `steps` makes it."""
        world = self.world
        match step:
            case ("pass", times):
                for _ in range(times):
                    self._note()
                    world.step("server")
                    world.run()
            case ("drop",) if world.inbox:
                world.inbox.popleft()
            case ("double",) if world.inbox:
                world.inbox.appendleft(world.inbox[0])
            case ("swap",) if len(world.inbox) > 1:
                world.inbox.rotate(-1)
            case ("cut",):
                world.cut()
            case ("restart",):
                world.restart()
            case ("change",):
                used = {world.home.password, *(old for old, _ in world.home.retired)}
                if fresh := [word for word in FRESH if word not in used]:
                    world.change(fresh[0])
            case ("wait", seconds):
                world.advance(seconds)
                while len(world.inbox) > 20:  # late messages of connections that ended
                    world.inbox.popleft()
            case ("log in", password):
                self.asked = True
                world.log_in(password)
            case ("replay", number) if self.heard:
                self._say(self.heard[number % len(self.heard)])
            case ("bytes", begin, length, data) if raw := self._take():
                begin %= len(raw)
                self._receive(raw[:begin] + data + raw[begin + length :])
            case ("field", name, value) if raw := self._take():
                self._receive(json.dumps({**json.loads(raw), name: value}).encode())
            case ("make up", kind, fields):
                self._receive(json.dumps({"type": kind, **EXAMPLES[kind], **fields}).encode())

    def check(self) -> None:
        """Check what holds after each step, beside what the driver checks."""
        world = self.world
        with local_time("Asia/Tokyo"):
            show(world.memory.get(HOME, SavedState()))
        view = world.view
        assert view.days_left is None or view.days_left >= 0
        if not world.proven and not self.asked:
            record = world.vault[HOME]
            assert replace(record, refused=None) == self.first, "stored without proof"
            assert world.memory.get(HOME, SavedState()).console_url is None

    def end(self) -> None:
        """Stop interfering, and let everything that is under way end."""
        self.world.hold = set()
        self.world.run()

    def _note(self) -> None:
        inbox = self.world.inbox
        if inbox and isinstance(inbox[0], ev.Received):
            self.heard.append(inbox[0].message)

    def _take(self) -> bytes | None:
        """Take the next message; return it as it is on the wire, or None."""
        self._note()
        inbox = self.world.inbox
        if not inbox or not isinstance(inbox[0], ev.Received):
            return None
        event = inbox.popleft()
        assert isinstance(event, ev.Received)
        return msg.encode(event.message)

    def _receive(self, raw: bytes) -> None:
        """Decode as `agent/connection.py` does."""
        try:
            self._say(msg.decode_from_server(raw))
        except msg.UnknownMessage:
            pass
        except msg.MessageError as exc:
            number = self.world.machine.client.connection.number
            if number in self.world.sessions:
                self.world.sessions[number].closed = True
                failure = Failure(Reason.PROTOCOL, detail=str(exc))
                self.world.handle(ev.Disconnected(number, failure))
                self.world.run()

    def _say(self, message: msg.ServerMessage) -> None:
        number = self.world.machine.client.connection.number
        if number == 0:  # there is no connection to say it on
            return
        self.world.inbox.appendleft(ev.Received(number, message))
        self.world.step("server")
        self.world.run()


@settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(steps(), min_size=8, max_size=60))
def converse(chosen: list[tuple[Any, ...]]) -> None:
    """Hold one conversation."""
    middle = Middle()
    for step in chosen:
        middle.do(step)
        middle.check()
    middle.end()
    middle.check()


def conversation(data: bytes) -> None:
    """Hold the conversation that these bytes choose."""
    converse.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined] # not in its types


_SEEDS = [random.Random(number).randbytes(4000) for number in range(12)]
TARGETS = [Target("conversation", conversation, _SEEDS, weight=3, max_bytes=6000)]
