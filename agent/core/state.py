"""The states of the client and every way from one to another. Nothing else decides that."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What the client is doing, as a user would say it."""

    LOGGED_OUT = "logged_out"
    """No password is stored: nobody has signed in on this PC."""
    CONNECTING = "connecting"
    """On the way to the server, or logging in."""
    STANDBY = "standby"
    """待ち受け状態: logged in with the current password."""
    STANDBY_OLD_PASSWORD = "standby_old_password"
    """待ち受け状態 with an old password that will end."""
    UPDATING = "updating"
    """A new password, pushed or typed, is being proven and stored."""
    RETRYING = "retrying"
    """Something is in the way; tries again by itself."""
    NEEDS_PASSWORD = "needs_password"
    """The server refused the stored password; only the user can help."""
    STOPPED = "stopped"
    """The program ends."""


class Trigger(Enum):
    """Why the state changes: the machine's reading of one or more events."""

    NOTHING_STORED = "nothing stored"
    LOGGED_IN = "logged in with the current password"
    LOGGED_IN_OLD = "logged in with an old password"
    UPDATE_BEGUN = "new password to prove"
    TRY = "time to try"
    TROUBLE = "trouble"
    REFUSED = "stored password refused"
    LOGGED_OUT = "logged out"
    QUIT = "quit"


class IllegalTransition(Exception):
    """The table has no way out of this state by this trigger: a defect of ours."""


_S, _T = State, Trigger
_RUNNING = [state for state in State if state is not State.STOPPED]

TABLE: dict[tuple[State, Trigger], State] = {
    # the way to the server
    (_S.CONNECTING, _T.NOTHING_STORED): _S.LOGGED_OUT,
    (_S.CONNECTING, _T.LOGGED_IN): _S.STANDBY,
    (_S.CONNECTING, _T.LOGGED_IN_OLD): _S.STANDBY_OLD_PASSWORD,
    (_S.CONNECTING, _T.REFUSED): _S.NEEDS_PASSWORD,
    (_S.CONNECTING, _T.TROUBLE): _S.RETRYING,
    (_S.RETRYING, _T.TRY): _S.CONNECTING,
    (_S.RETRYING, _T.TROUBLE): _S.RETRYING,
    (_S.RETRYING, _T.REFUSED): _S.NEEDS_PASSWORD,
    # waiting on the server
    (_S.STANDBY, _T.LOGGED_IN): _S.STANDBY,
    (_S.STANDBY, _T.LOGGED_IN_OLD): _S.STANDBY_OLD_PASSWORD,
    (_S.STANDBY, _T.REFUSED): _S.NEEDS_PASSWORD,
    (_S.STANDBY, _T.TROUBLE): _S.RETRYING,
    (_S.STANDBY, _T.TRY): _S.CONNECTING,
    (_S.STANDBY_OLD_PASSWORD, _T.LOGGED_IN): _S.STANDBY,
    (_S.STANDBY_OLD_PASSWORD, _T.LOGGED_IN_OLD): _S.STANDBY_OLD_PASSWORD,
    (_S.STANDBY_OLD_PASSWORD, _T.REFUSED): _S.NEEDS_PASSWORD,
    (_S.STANDBY_OLD_PASSWORD, _T.TROUBLE): _S.RETRYING,
    (_S.STANDBY_OLD_PASSWORD, _T.TRY): _S.CONNECTING,
    # a new password
    (_S.LOGGED_OUT, _T.UPDATE_BEGUN): _S.UPDATING,
    (_S.CONNECTING, _T.UPDATE_BEGUN): _S.UPDATING,
    (_S.STANDBY, _T.UPDATE_BEGUN): _S.UPDATING,
    (_S.STANDBY_OLD_PASSWORD, _T.UPDATE_BEGUN): _S.UPDATING,
    (_S.RETRYING, _T.UPDATE_BEGUN): _S.UPDATING,
    (_S.NEEDS_PASSWORD, _T.UPDATE_BEGUN): _S.UPDATING,
    (_S.UPDATING, _T.LOGGED_IN): _S.STANDBY,
    (_S.UPDATING, _T.LOGGED_IN_OLD): _S.STANDBY_OLD_PASSWORD,
    (_S.UPDATING, _T.TRY): _S.CONNECTING,
    (_S.UPDATING, _T.TROUBLE): _S.RETRYING,
    (_S.UPDATING, _T.REFUSED): _S.NEEDS_PASSWORD,
    (_S.UPDATING, _T.NOTHING_STORED): _S.LOGGED_OUT,
    # whatever it is doing
    **{(state, _T.LOGGED_OUT): _S.LOGGED_OUT for state in _RUNNING},
    **{(state, _T.QUIT): _S.STOPPED for state in _RUNNING},
}


def next_state(state: State, trigger: Trigger) -> State:
    """Raise IllegalTransition, which changes nothing, when the table has no such pair."""
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise IllegalTransition(f"{state.value}: {trigger.value}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram; docs/architecture.md carries it."""
    lines = ["stateDiagram-v2", "    [*] --> CONNECTING"]
    for (state, trigger), target in TABLE.items():
        if trigger not in {Trigger.LOGGED_OUT, Trigger.QUIT}:
            lines.append(f"    {state.name} --> {target.name}: {trigger.value}")
    lines.append("    note left of LOGGED_OUT: from any state by 'logged out'")
    lines.append("    note right of STOPPED: from any state by 'quit'")
    return "\n".join(lines)
