"""`make demo DAY=29`: each day after a change, in console, smartphone page and client."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile

import pytest

from demo import __main__ as demo
from demo.tour.person import Person
from tests.support.places import ROOT
from tests.support.polling import eventually

DEMO = [sys.executable, "-m", "demo"]
ENVIRON = {**os.environ, "DISPLAY": "", "COCONOWORK_LANGUAGE": "ja", "PYTHONUNBUFFERED": "1"}
DAYS = {
    "7": (7, "残り7日", "7日後"),
    "0": (0, "本日まで", "本日"),
    "31": (None, "古いパスワード(無効)", "パスワードの入力が必要です"),
}
"""By button: the days in `status --json`, and what the pages and the client's warning say."""


@contextmanager
def demonstration(*options: str) -> Iterator[str]:
    """Run the demonstration. Yield what it says until the client has warned."""
    # A shell that starts the tests in the background lets them ignore Ctrl-C.
    command = ["env", "--default-signal=INT", *DEMO, "--port=0", "--gateway-port=0", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        before = takewhile(lambda line: not line.startswith("  ["), process.stdout)
        yield "".join(before)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()


def client_says(home: str) -> dict[str, object]:
    """Return what `status --json` of the demonstration's client says."""
    command = [sys.executable, "-m", "agent", "status", "--json"]
    environ = {**ENVIRON, "COCONOWORK_HOME": home}
    answer = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)
    status: dict[str, object] = json.loads(answer.stdout)
    return status


@pytest.mark.keyring
def test_each_day_of_the_old_password() -> None:
    """Each button has its day, also back from the end, and all three say the same."""
    with demonstration("--day=29") as said:
        [console] = re.findall(r"(http://\S+)/rehearsal/", said)
        [password] = re.findall(r"tanaka +(\S+)$", said, re.MULTILINE)
        [home] = re.findall(r"COCONOWORK_HOME=(\S+)", said)
        eventually(lambda: client_says(home)["state"] == "standby_old_password", within_s=30)
        assert client_says(home)["days_left"] == 1
        control, desk, phone = Person(console), Person(console), Person(console)
        control.open("/rehearsal/")
        buttons = control._browser.page.find_all("button", {"name": "day"})
        left_by = {each.get_text(strip=True): 30 - int(each["value"]) for each in buttons}
        assert left_by == {"30": 30, "7": 7, "3": 3, "1": 1, "0": 0, "31": -1}
        assert desk.log_in("/login/", "tanaka", password)
        assert phone.log_in("/app/login/", "tanaka", password)
        for button in [*DAYS, "7"]:
            left, on_pages, warned = DAYS[button]
            control.open("/rehearsal/")
            control.press(button)
            assert warned in control.text()
            status = client_says(home)
            state = "needs_password" if left is None else "standby_old_password"
            assert (status["state"], status["days_left"]) == (state, left)
            desk.open("/")
            phone.open("/app/")
            assert on_pages in desk.text()
            assert on_pages in phone.text()


def test_no_such_day() -> None:
    """An odd day is refused before anything starts."""
    for day in ("abc", "-1", "366", "400", "1.5", "²"):
        with pytest.raises(argparse.ArgumentTypeError):
            demo._day(day)
    refused = subprocess.run(
        [*DEMO, "--day=٢"], cwd=ROOT, env=ENVIRON, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "'٢' is not a number of days from 0 to 365" in refused.stderr
