"""The states of the client that the user sees, and every way from one to another."""

from __future__ import annotations

from enum import Enum

from agent.core.transitions import Table


class State(Enum):
    """What the client is doing."""

    LOGGED_OUT = "logged_out"
    """No password is stored: the user has to log in."""
    CONNECTING = "connecting"
    """Reading the stored password, opening a connection or logging in."""
    STANDBY = "standby"
    """待ち受け状態: logged in with the current password."""
    STANDBY_OLD_PASSWORD = "standby_old_password"
    """待ち受け状態: logged in with an old password, which will end."""
    UPDATING = "updating"
    """A new password, pushed or typed, is being proved and stored."""
    RETRYING = "retrying"
    """A failure keeps the client from the server; it tries again when a timer fires."""
    NEEDS_PASSWORD = "needs_password"
    """The server refused the stored password; only the user can help."""
    STOPPED = "stopped"
    """The program ends."""


class Trigger(Enum):
    """Why the state changes."""

    NOTHING_STORED = "nothing stored"
    LOGGED_IN = "logged in with the current password"
    LOGGED_IN_OLD = "logged in with an old password"
    UPDATE_BEGUN = "new password to prove"
    TRY = "time to try"
    TROUBLE = "trouble"
    REFUSED = "stored password refused"
    LOGGED_OUT = "logged out"
    QUIT = "quit"


_S, _T = State, Trigger

TABLE = Table(
    _S.CONNECTING,
    {
        # on the way to the server
        (_S.CONNECTING, _T.NOTHING_STORED): _S.LOGGED_OUT,
        (_S.CONNECTING, _T.LOGGED_IN): _S.STANDBY,
        (_S.CONNECTING, _T.LOGGED_IN_OLD): _S.STANDBY_OLD_PASSWORD,
        (_S.CONNECTING, _T.REFUSED): _S.NEEDS_PASSWORD,
        (_S.CONNECTING, _T.TROUBLE): _S.RETRYING,
        (_S.RETRYING, _T.TRY): _S.CONNECTING,
        (_S.RETRYING, _T.TROUBLE): _S.RETRYING,
        (_S.RETRYING, _T.REFUSED): _S.NEEDS_PASSWORD,
        # logged in
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
    },
    anywhere={_T.LOGGED_OUT: _S.LOGGED_OUT, _T.QUIT: _S.STOPPED},
    last=_S.STOPPED,
)
