"""`make demo DAY=29`: its page and output. The guided tour tests each day."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from itertools import takewhile

import pytest

from demo import __main__ as demo
from demo.tour.person import Person
from tests.support.places import ROOT

ENVIRON = {**os.environ, "DISPLAY": "", "COCONOWORK_LANGUAGE": "ja", "PYTHONUNBUFFERED": "1"}


def client_says(home: str) -> tuple[str, int | None]:
    """Return state and days left from `status --json` of the demonstration's client."""
    command = [sys.executable, "-m", "agent", "status", "--json"]
    environ = {**ENVIRON, "COCONOWORK_HOME": home}
    answer = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)
    status = json.loads(answer.stdout)
    return status["state"], status["days_left"]


@pytest.mark.keyring
def test_days_of_the_old_password() -> None:
    """The demonstration's page has a button for each day, also the old password's end."""
    # A shell that starts the tests in the background lets them ignore Ctrl-C.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "demo", "--day=29"]
    command += ["--port=0", "--gateway-port=0"]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = "".join(takewhile(lambda line: not line.startswith("  ["), process.stdout))
        [console] = re.findall(r"(http://\S+)/rehearsal/", said)
        [password] = re.findall(r"tanaka +(\S+)$", said, re.MULTILINE)
        [home] = re.findall(r"COCONOWORK_HOME=(\S+)", said)
        assert client_says(home) == ("standby_old_password", 1)
        assert Person(console).log_in("/login/", "tanaka", password)
        control = Person(console)
        control.open("/rehearsal/")
        buttons = control._page.find_all("button", {"name": "day"})
        left_by = {each.get_text(strip=True): 30 - int(str(each["value"])) for each in buttons}
        assert left_by == {"30": 30, "7": 7, "3": 3, "1": 1, "0": 0, "31": -1}
        for button, warned, state in (
            ("31", "パスワードの入力が必要です", ("needs_password", None)),
            ("7", "7日後", ("standby_old_password", 7)),
        ):
            control.press(button)
            assert warned in control.text()
            assert client_says(home) == state
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("day", ["abc", "-1", "366", "1.5", "²", "٢"])
def test_no_such_day(day: str) -> None:
    """A day that does not exist is refused before any program starts."""
    with pytest.raises(argparse.ArgumentTypeError, match="not a number of days from 0 to 365"):
        demo._day(day)
