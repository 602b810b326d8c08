"""The vault in a process of its own, which is there only while it is needed.

keyring and what it brings (on Linux a second cryptographic library) is as large as all the rest
of the client. Over the pipes go the structs below, one line of JSON each; nothing secret is in an
argument or the environment.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from threading import Lock, Thread, Timer, current_thread
from typing import IO

import msgspec

from agent.core.credentials import Credentials, Identity
from agent.core.failure import Reason
from agent.ports import Vault, VaultError
from agent.program import CREATION_FLAGS, program, program_dir

IDLE_S = 10.0
"""Seconds that the process waits for another call: a password that changes takes several."""


class Read(msgspec.Struct, frozen=True, tag="read"):
    """client → process"""

    identity: Identity


class Write(msgspec.Struct, frozen=True, tag="write"):
    """client → process"""

    identity: Identity
    record: Credentials


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """client → process"""

    identity: Identity


class Close(msgspec.Struct, frozen=True, tag="close"):
    """client → process, at any time, not answered: what waits for the user is to fail."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """process → client: `record` is what a Read has found."""

    record: Credentials | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """process → client: a VaultError."""

    reason: Reason
    text: str


Call = Read | Write | Delete | Close
Answer = Done | Failed

_calls: msgspec.json.Decoder[Call] = msgspec.json.Decoder(Call)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class ProcessVault:
    """`agent.ports.Vault`. `start` is the command of a process that runs `serve`.

    While the keyring is locked the process is kept: it remembers that the user was asked, and does
    not ask again so soon.
    """

    def __init__(self, start: Sequence[str] | None = None, *, idle_s: float = IDLE_S) -> None:
        self._start = list(start) if start is not None else [*program(), "vault"]
        self._idle_s = idle_s
        self._one_at_a_time = Lock()
        self._state = Lock()
        """Of what follows; held for moments."""
        self._process: subprocess.Popen[bytes] | None = None
        self._idle: Timer | None = None
        self._over = False

    def prepare(self) -> None:
        """Start the process now, for a call that is sure to come. Never raises."""
        with suppress(VaultError):
            self._running()

    def read(self, identity: Identity) -> Credentials | None:
        return self._call(Read(identity))

    def write(self, identity: Identity, record: Credentials) -> None:
        self._call(Write(identity, record))

    def delete(self, identity: Identity) -> None:
        self._call(Delete(identity))

    def close(self) -> None:
        with self._state:
            self._over = True
            if self._process is not None:
                _send(self._process, Close())

    def _call(self, call: Call) -> Credentials | None:
        with self._one_at_a_time:
            process = self._running()
            try:
                with self._state:
                    _send(process, call)
                assert process.stdout is not None  # noqa: S101 - it is a pipe
                answer = _answers.decode(process.stdout.readline())
            except UnicodeEncodeError:  # half a surrogate pair, as a terminal may deliver
                self._end_when_idle()
                text = "the entry cannot be kept: characters that are not text"
                raise VaultError(Reason.VAULT_BROKEN, text) from None
            except (OSError, msgspec.MsgspecError):
                self._end()
                text = f"the keyring's process has ended with {process.returncode}"
                raise VaultError(Reason.VAULT_MISSING, text) from None
            if isinstance(answer, Done):
                self._end_when_idle()
                return answer.record
            if answer.reason is not Reason.VAULT_LOCKED:
                self._end_when_idle()
            raise VaultError(answer.reason, answer.text)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, started when there is none. Raise VaultError."""
        with self._state:
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            if self._process is not None and self._process.poll() is not None:
                self._hang_up(self._process)
            if self._process is None:
                try:
                    self._process = subprocess.Popen(  # noqa: S603 - our own program
                        self._start,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        creationflags=CREATION_FLAGS,
                        cwd=program_dir(),
                    )
                except OSError as exc:
                    text = f"the keyring's process cannot be started: {exc.strerror}"
                    raise VaultError(Reason.VAULT_MISSING, text) from None
                if self._over:
                    _send(self._process, Close())
            return self._process

    def _end_when_idle(self) -> None:
        with self._state:
            self._idle = Timer(self._idle_s, self._end)
            self._idle.daemon = True
            self._idle.start()

    def _end(self) -> None:
        """Have it end by itself; on a timer's thread only if that timer still counts."""
        with self._state:
            thread = current_thread()
            if self._process is None or (isinstance(thread, Timer) and thread is not self._idle):
                return
            process = self._process
            self._hang_up(process)
        process.wait()

    def _hang_up(self, process: subprocess.Popen[bytes]) -> None:
        self._process = self._idle = None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None  # noqa: S101 - it is one
            with suppress(OSError):
                pipe.close()


def _send(process: subprocess.Popen[bytes], call: Call) -> None:
    """To a process that has gone, nothing: its answer will not come. Raise UnicodeEncodeError."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    line = msgspec.json.encode(call) + b"\n"
    with suppress(OSError, ValueError):
        process.stdin.write(line)
        process.stdin.flush()


# --- the process


def main() -> int:
    """`… vault`: answer the client that started us, on the platform's keyring, until it goes."""
    from agent.hardening import harden

    harden()
    # Told to the whole group or session; the client hears it too, and has last things to write.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin is None or sys.stdout is None or sys.stdin.isatty():
        return 2
    from agent.vault import KeyringVault

    serve(KeyringVault(), sys.stdin.buffer, sys.stdout.buffer)
    return 0


def serve(vault: Vault, reading: IO[bytes], writing: IO[bytes]) -> None:
    """Answer with `vault` what is `reading`, one after the other, until it ends."""
    waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
    Thread(target=_listen, args=(vault, reading, waiting), name="pipe", daemon=True).start()
    while (call := waiting.get()) is not None:
        line = msgspec.json.encode(_answer(vault, call)) + b"\n"
        try:
            writing.write(line)
            writing.flush()
        except OSError:
            return


def _listen(vault: Vault, reading: IO[bytes], waiting: queue.SimpleQueue[Call | None]) -> None:
    """Raw: a thread that waits inside a buffered reader aborts the interpreter's end."""
    lines = FileIO(reading.fileno(), closefd=False)
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        while line := lines.readline():
            call = _calls.decode(line)
            if isinstance(call, Close):
                vault.close()
            else:
                waiting.put(call)
    vault.close()
    waiting.put(None)


def _answer(vault: Vault, call: Call) -> Answer:
    try:
        match call:
            case Read(identity):
                return Done(vault.read(identity))
            case Write(identity, record):
                vault.write(identity, record)
            case Delete(identity):
                vault.delete(identity)
    except VaultError as exc:
        return Failed(exc.reason, str(exc))
    except Exception as exc:  # noqa: BLE001 - a defect is no reason to leave the client waiting
        return Failed(Reason.VAULT_BROKEN, f"unexpected: {type(exc).__name__}")
    return Done()
