"""From 「変更」 in the console to the new password in the PC's keyring, proven.

A person at the real page over TLS presses the button; the time ends when the client says that the
new password is committed to its keyring, after it has logged in with it. The page itself derives
keys twice, for the current and for the new password; the client once. The client starts the process
that talks to the keyring when the push comes, as it does for a change once in months; that is in
"kept as pending". The baseline is one key derivation (PBKDF2-SHA-256, 600,000 rounds) on the same
machine: the floor for the client's part.
"""

from __future__ import annotations

import hashlib
import time
from statistics import median

import psutil

from bench import desk
from bench.machine import percentile
from bench.report import Figure, Size
from demo.__main__ import sample_password
from demo.tour.person import Person

BASELINE = "one key derivation"
STEPS = (
    ("the page, until the push comes", ": PasswordChanged"),
    ("kept as pending in the keyring", "VaultWritten -> Send"),
    ("hello and challenge", "Received -> ComputeProof"),
    ("key derivation", "ProofReady -> Send"),
    ("proof and welcome", "Received -> WriteVault"),
    ("committed in the keyring", "updating -> standby"),
)
"""Each ends with the line of the log that has this in it."""


def run(size: Size) -> list[Figure]:
    """Change the password again and again."""
    floor = derivation_ms()
    with desk.linux_desk(log_level="debug") as linux:
        pid, _ = linux.start()
        linux.wait_for_standby()
        password, runs = linux.password, []
        with linux.office.person(desk.USER, password) as person:
            for _ in range(size.pick(25, 2)):
                if not size.short:
                    psutil.wait_procs(psutil.Process(pid).children(), timeout=desk.PATIENCE_S)
                new = sample_password()
                runs.append(_change(linux, person, password, new))
                password = new
        assert linux.stored_password() == password
    client = [sum(each[1:]) for each in runs]
    figures = [
        Figure(
            what="button to proven, median",
            value=median(sum(each) for each in runs),
            unit="ms",
            baseline=floor,
            headline=True,
        ),
        Figure(
            what="button to proven, p99",
            value=percentile((sum(each) for each in runs), 99),
            unit="ms",
            baseline=floor,
            headline=True,
        ),
        Figure(what="client's part, median", value=median(client), unit="ms", baseline=floor),
        Figure(what="client's part, p99", value=percentile(client, 99), unit="ms", baseline=floor),
    ]
    for number, (what, _) in enumerate(STEPS):
        taken = median(each[number] for each in runs)
        own = floor if what == "key derivation" else None
        figures.append(Figure(what=what, value=taken, unit="ms", baseline=own))
    return figures


def derivation_ms(times: int = 5) -> float:
    """The floor: what OpenSSL takes for it here."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        hashlib.pbkdf2_hmac("sha256", b"Passw0rd!", b"salt of %07d" % number, 600_000)
        taken.append(time.perf_counter() - began)
    return 1000 * median(taken)


def _change(linux: desk.LinuxDesk, person: Person, current: str, new: str) -> list[float]:
    """Milliseconds of each step."""
    person.follow("パスワード変更")
    person.switch("「coconowork client」に", on=True)
    person.fill("現在のパスワード", current)
    person.fill("新しいパスワード", new)
    person.fill("新しいパスワード(確認)", new)
    since = linux.log.length
    last, taken = time.perf_counter(), []
    person.press("変更")
    assert "パスワードが変更されました。" in person.text()
    linux.log.wait_for(STEPS[-1][1], since=since)
    lines = iter(linux.log.since(since))
    for what, mark in STEPS:
        at = next((line.at for line in lines if mark in line.text), None)
        if at is None:
            raise AssertionError(f"not in the client's log: {what}")
        taken.append(1000 * (at - last))
        last = at
    return taken
