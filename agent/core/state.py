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


_S = State

TABLE = Table(
    _S.CONNECTING,
    {
        # on the way to the server
        (_S.CONNECTING, "nothing stored"): _S.LOGGED_OUT,
        (_S.CONNECTING, "logged in with the current password"): _S.STANDBY,
        (_S.CONNECTING, "logged in with an old password"): _S.STANDBY_OLD_PASSWORD,
        (_S.CONNECTING, "stored password refused"): _S.NEEDS_PASSWORD,
        (_S.CONNECTING, "trouble"): _S.RETRYING,
        (_S.RETRYING, "time to try"): _S.CONNECTING,
        (_S.RETRYING, "trouble"): _S.RETRYING,
        (_S.RETRYING, "stored password refused"): _S.NEEDS_PASSWORD,
        (_S.RETRYING, "nothing stored"): _S.LOGGED_OUT,
        # logged in
        (_S.STANDBY, "logged in with the current password"): _S.STANDBY,
        (_S.STANDBY, "logged in with an old password"): _S.STANDBY_OLD_PASSWORD,
        (_S.STANDBY, "stored password refused"): _S.NEEDS_PASSWORD,
        (_S.STANDBY, "trouble"): _S.RETRYING,
        (_S.STANDBY, "time to try"): _S.CONNECTING,
        (_S.STANDBY, "nothing stored"): _S.LOGGED_OUT,
        (_S.STANDBY_OLD_PASSWORD, "logged in with the current password"): _S.STANDBY,
        (_S.STANDBY_OLD_PASSWORD, "logged in with an old password"): _S.STANDBY_OLD_PASSWORD,
        (_S.STANDBY_OLD_PASSWORD, "stored password refused"): _S.NEEDS_PASSWORD,
        (_S.STANDBY_OLD_PASSWORD, "trouble"): _S.RETRYING,
        (_S.STANDBY_OLD_PASSWORD, "time to try"): _S.CONNECTING,
        (_S.STANDBY_OLD_PASSWORD, "nothing stored"): _S.LOGGED_OUT,
        # a new password
        (_S.LOGGED_OUT, "new password to prove"): _S.UPDATING,
        (_S.CONNECTING, "new password to prove"): _S.UPDATING,
        (_S.STANDBY, "new password to prove"): _S.UPDATING,
        (_S.STANDBY_OLD_PASSWORD, "new password to prove"): _S.UPDATING,
        (_S.RETRYING, "new password to prove"): _S.UPDATING,
        (_S.NEEDS_PASSWORD, "new password to prove"): _S.UPDATING,
        (_S.UPDATING, "logged in with the current password"): _S.STANDBY,
        (_S.UPDATING, "logged in with an old password"): _S.STANDBY_OLD_PASSWORD,
        (_S.UPDATING, "time to try"): _S.CONNECTING,
        (_S.UPDATING, "trouble"): _S.RETRYING,
        (_S.UPDATING, "stored password refused"): _S.NEEDS_PASSWORD,
        (_S.UPDATING, "nothing stored"): _S.LOGGED_OUT,
    },
    anywhere={"logged out": _S.LOGGED_OUT, "quit": _S.STOPPED},
    last=_S.STOPPED,
)
