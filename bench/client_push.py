"""Measure the time from 「変更」 in the console to the proven new password in the keyring.

A person at the real page over TLS presses the button. The time ends when the client logs that the
new password is committed to its keyring, after a login with it. The page derives keys twice, for
the current and for the new password; the client once. The baseline is one key derivation
(PBKDF2-SHA-256, 600,000 rounds) on the same machine: the least that the client's part can take.
"""

from __future__ import annotations

import hashlib
import time

from bench import desk
from bench.machine import percentile
from bench.report import Figure, Size
from demo.__main__ import sample_password
from tests.support.browser import Browser
from tests.support.installation import P1

BASELINE = "one key derivation"
DERIVATIONS = 5


def run(size: Size) -> list[Figure]:
    floor = [_derivation_ms(number) for number in range(DERIVATIONS)]
    with desk.linux_desk() as linux:
        linux.start()
        linux.wait_for_standby()
        password, runs = P1, []
        with linux.organisation.browser(desk.USER, password) as browser:
            for _ in range(size.pick(25, 2)):
                new = sample_password()
                runs.append(_change(linux, browser, password, new))
                password = new
        linux.client.stop()
        lines = linux.log.length
        linux.start()  # the keyring has the new password: the next start needs no other
        linux.wait_for_standby(since=lines)
    page, client = [each[0] for each in runs], [each[1] for each in runs]
    whole = [sum(each) for each in runs]
    rows = [
        ("button to proven", whole),
        ("button to proven, p99", [percentile(whole, 99)]),
        ("the page, until the push arrives", page),
        ("the client, from the push to proven", client),
        ("the client, p99", [percentile(client, 99)]),
    ]
    return [Figure(what=what, unit="ms", values=each, baseline=floor) for what, each in rows]


def _derivation_ms(number: int) -> float:
    began = time.perf_counter()
    hashlib.pbkdf2_hmac("sha256", b"Passw0rd!", b"salt of %07d" % number, 600_000)
    return 1000 * (time.perf_counter() - began)


def _change(linux: desk.LinuxDesk, browser: Browser, current: str, new: str) -> tuple[float, float]:
    """Return the milliseconds until the push arrives, and from then until it is proven."""
    browser.open("/password/")
    since, began = linux.log.length, time.perf_counter()
    answer = browser.submit(current_password=current, new_password1=new, new_password2=new)
    assert "The password was changed." in answer.text
    arrived = linux.log.wait_for("-> updating", since=since)
    proven = linux.log.wait_for("updating -> standby", since=since)
    return 1000 * (arrived - began), 1000 * (proven - arrived)
