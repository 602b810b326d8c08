"""The states of the client that the user sees, and the transitions between them."""

from __future__ import annotations

from enum import Enum

from agent.core.transitions import Table


class State(Enum):
    """What the client is doing."""

    LOGGED_OUT = "logged_out"  # no password is stored: the user has to log in
    CONNECTING = "connecting"  # reading the stored password, opening a connection or logging in
    STANDBY = "standby"  # 待ち受け状態: logged in with the current password
    STANDBY_OLD_PASSWORD = "standby_old_password"  # logged in with an old password, which will end
    UPDATING = "updating"  # a new password, pushed or typed, is being proved and stored
    RETRYING = "retrying"  # a failure keeps the client from the server; a timer starts the next try
    NEEDS_PASSWORD = "needs_password"  # the stored password was refused; only the user can help
    STOPPED = "stopped"  # the program ends


MAY_RECONNECT = {State.RETRYING, State.STANDBY, State.STANDBY_OLD_PASSWORD}
"""The states in which the user may reconnect; in the others the client is trying, or cannot try."""

MAY_LOG_OUT = set(State) - {State.LOGGED_OUT, State.STOPPED}

IN_USE = set(State) - {State.LOGGED_OUT, State.NEEDS_PASSWORD, State.STOPPED}
"""The states in which the client is in standby, or gets there without the user's help."""

_S = State
_CONNECTED = (_S.CONNECTING, _S.STANDBY, _S.STANDBY_OLD_PASSWORD, _S.UPDATING)
_TRYING = (*_CONNECTED, _S.RETRYING)

TABLE: Table[State] = Table(
    _S.CONNECTING,
    {
        (_TRYING, "time to try"): _S.CONNECTING,
        (_TRYING, "trouble"): _S.RETRYING,
        (_TRYING, "nothing stored"): _S.LOGGED_OUT,
        (_TRYING, "stored password refused"): _S.NEEDS_PASSWORD,
        (_CONNECTED, "logged in with the current password"): _S.STANDBY,
        (_CONNECTED, "logged in with an old password"): _S.STANDBY_OLD_PASSWORD,
    },
    anywhere={
        "new password to prove": _S.UPDATING,
        "logged out": _S.LOGGED_OUT,
        "quit": _S.STOPPED,
    },
    last=_S.STOPPED,
)
