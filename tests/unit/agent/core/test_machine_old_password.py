"""Standby with an old password: the days left, and a warning at every sign-in."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agent.core import effects as do
from agent.core import events as ev
from agent.core.events import SignInKind, Timer
from agent.core.failure import Failure, Reason
from agent.core.password_warnings import PUSH_S, TOAST_S
from agent.core.state import State
from protocol import messages as msg
from protocol.messages import WarningOutcome as Outcome
from tests.support.core_driver import BEGIN, OTHER, P1, P2, P3, World
from tests.support.core_scenes import on_old_password, standby

UNLOCK = SignInKind.UNLOCK
DAY = timedelta(days=1)


def shown(world: World) -> list[int]:
    return [each.days_left for each in world.seen(do.ShowWarning)]


def outcomes(world: World) -> list[str]:
    return [each.warning.value for each in world.notices]


def offline_from_here(world: World, duration: timedelta, session: str = "s1") -> None:
    """End the program, and start it again after `duration`, at a sign-in and offline."""
    world.kill()
    world.online = False
    world.advance(duration)
    world.come(session)
    world.start()


def next_run(world: World, session: str) -> None:
    """Start the program again in `session`, and wait the second in which a push may come."""
    world.restart(session=session)
    world.advance(PUSH_S)


def test_a_sign_in_is_warned_about_once_and_the_server_told() -> None:
    """A session shows one warning, also after a restart, and the server gets a notice."""
    world = on_old_password()
    world.come("s1")
    last_day = (BEGIN + 30 * DAY).astimezone().date()
    assert world.seen(do.ShowWarning) == [do.ShowWarning(30, last_day)]
    assert Timer.TOAST not in world.timers
    world.advance(100)
    assert world.notices == [msg.Notice(warning=Outcome.SHOWN, days_left=30)]
    next_run(world, "s1")
    assert Timer.WARNING not in world.timers
    assert shown(world) == [30]
    assert outcomes(world) == ["shown", "suppressed"]
    next_run(world, "s2")
    assert shown(world) == [30, 30]


def test_each_return_to_the_desktop_goes_by_the_rules() -> None:
    """An unlock warns once a day, always in the last 3 days; never twice within a minute."""
    world = on_old_password()
    world.come()
    for kind, after in (
        (SignInKind.CONNECT, timedelta(seconds=30)), (SignInKind.CONNECT, timedelta(seconds=30)),
        (UNLOCK, DAY), (UNLOCK, timedelta(hours=1)), (UNLOCK, 26 * DAY), (UNLOCK, DAY / 24),
    ):  # fmt: skip
        world.advance(after)
        world.come("s1", kind)
    assert shown(world) == [30, 30, 29, 3, 3]


def test_an_unlock_on_the_heels_of_a_sign_in_does_not_take_its_place() -> None:
    """A sign-in gets its warning although an unlock comes at once and another session had one."""
    world = on_old_password()
    world.come("s0")
    offline_from_here(world, timedelta(seconds=120))
    world.come("s1", UNLOCK)
    world.advance(61)
    assert shown(world) == [30, 30]


# --- offline


def test_offline_the_last_known_deadline_does_after_a_minute() -> None:
    """Offline, the saved end gives a warning after 60 s; its notice waits for this user's login."""
    world = on_old_password()
    offline_from_here(world, 2 * DAY)
    world.advance(59)
    assert shown(world) == []
    world.advance(2)
    assert shown(world) == [28]
    assert world.notices == []
    world.online = True
    world.advance(300)
    assert world.state is State.STANDBY_OLD_PASSWORD
    assert world.notices == [msg.Notice(warning=Outcome.SHOWN, days_left=28)]
    assert shown(world) == [28]
    world = on_old_password()
    offline_from_here(world, DAY)
    world.advance(61)
    world.online = True
    assert world.replies[world.log_in(P1, OTHER)] is None
    assert world.notices == []


def test_offline_at_the_sign_in_and_the_change_not_known_yet() -> None:
    """After sign-ins offline there is one warning, once the server says the password is old."""
    world = standby()
    world.kill()
    world.change(P2, push=False)
    offline_from_here(world, timedelta())
    world.come("s1")
    world.advance(600)
    assert shown(world) == []
    world.online = True
    world.advance(300)
    assert shown(world) == [30]


def test_offline_and_past_its_end_only_the_server_knows() -> None:
    """Offline past the end there is no warning; once online, the user is asked."""
    world = on_old_password()
    offline_from_here(world, timedelta())
    world.sleep(30 * DAY - timedelta(minutes=1))
    assert world.view.days_left == 0
    world.advance(timedelta(minutes=2))
    assert Timer.MIDNIGHT not in world.timers
    world.performed.clear()
    world.sleep(10 * DAY)
    world.come("s2")
    world.advance(120)
    view = world.view
    assert (view.days_left, view.valid_until) == (None, BEGIN + 30 * DAY)
    world.online = True
    world.advance(300)
    assert world.is_in(State.NEEDS_PASSWORD, Reason.EXPIRED)
    assert shown(world) == []


# --- not warned, because it is over


@pytest.mark.parametrize("push", [False, True])
def test_never_after_the_update(*, push: bool) -> None:
    """After the update no warning comes, online or offline, and one on the screen is removed."""
    world = on_old_password()
    world.come("s1")
    assert world.warning == 30
    if push:
        world.change(P3)
    else:
        world.log_in(P2)
    assert world.state is State.STANDBY
    assert world.warning is None
    world.come("s2")
    offline_from_here(world, DAY, "s3")
    world.advance(120)
    assert shown(world) == [30]
    assert world.notices == [msg.Notice(warning=Outcome.SHOWN, days_left=30)]


@pytest.mark.parametrize("kept_for_s", [0.0, 2 * PUSH_S], ids=["at once", "a slow keyring"])
@pytest.mark.parametrize("works", [True, False], ids=["received", "not received"])
def test_a_push_that_waits_comes_before_the_warning(kept_for_s: float, *, works: bool) -> None:
    """A push at the login comes first; the warning follows only if the push fails."""
    world = on_old_password()
    world.keep_push(P2 if works else P3, "b" * 32, world.this_device)
    world.hold = {"vault"} if kept_for_s else set()
    world.kill()
    world.come("s1")
    world.start()
    world.step("vault")
    world.run()
    world.advance(kept_for_s)
    assert shown(world) == []
    world.release("vault")
    world.advance(DAY / 24)
    assert shown(world) == ([] if works else [30])
    assert outcomes(world) == ([] if works else ["shown"])
    assert len(world.seen(do.TellReceived)) == works


# --- what becomes of a warning


def test_an_unseen_warning_is_tried_again_each_minute() -> None:
    """An unseen warning is shown each minute until seen; the server gets each outcome once."""
    world = on_old_password()
    world.toast = Outcome.UNSEEN
    world.come()
    world.advance(125)
    assert shown(world) == [30, 30, 30]
    assert outcomes(world) == ["unseen"]
    next_run(world, "s1")
    assert shown(world)[3:] == [30], "the sign-in still waits"
    world.toast = Outcome.SHOWN
    world.advance(61)
    assert outcomes(world)[-1] == "shown"
    world.advance(3600)
    assert len(shown(world)) == 5


def test_a_desktop_that_does_not_answer() -> None:
    """A warning without an answer is unseen after one minute; a late answer counts, too."""
    world = on_old_password("toast")
    world.come()
    world.come("s1", UNLOCK)
    world.advance(TOAST_S - 0.1)
    assert world.notices == []
    world.advance(0.2)
    assert outcomes(world) == ["unseen"]
    world.release("toast")
    assert outcomes(world) == ["unseen", "shown"]
    world.tell(ev.TimerFired(Timer.TOAST))
    world.advance(3600)
    assert (len(world.notices), shown(world)) == (2, [30]), "one warning serves the unlock as well"


def test_a_user_who_is_away_is_warned_on_the_way_back() -> None:
    """No warning counts as seen behind the lock; the next unlock shows it."""
    world = on_old_password()
    world.come("s0")
    world.kill()
    world.come("s1")
    world.tell(ev.UserLeft())
    world.start()
    world.advance(3600)
    assert shown(world) == [30]
    assert outcomes(world) == ["shown", "unseen"]
    world.hold = {"toast"}
    world.come("s1", UNLOCK)
    world.tell(ev.UserLeft())
    world.release("toast")
    assert shown(world) == [30, 30], "drawn behind the lock"
    world.come("s1", UNLOCK)
    world.release("toast")
    assert shown(world) == [30, 30, 30]
    assert outcomes(world) == ["shown", "unseen", "unseen", "shown"]


def test_a_desktop_that_would_not_show_it() -> None:
    """The server gets `failed`; the next return of the user shows the warning again."""
    world = on_old_password()
    world.toast = Outcome.FAILED
    world.come()
    world.advance(3600)
    assert outcomes(world) == ["failed"]
    assert shown(world) == [30]
    world.toast = Outcome.SHOWN
    world.come("s1", UNLOCK)
    assert outcomes(world) == ["failed", "shown"]


@pytest.mark.parametrize("outcome", [Outcome.CLICKED, Outcome.DISMISSED])
def test_what_the_user_does_with_it(outcome: Outcome) -> None:
    """The user's answer is sent even after a later sign-in, and no other warning follows."""
    world = on_old_password()
    world.come("s1")
    world.come("s1", UNLOCK)
    world.tell(ev.WarningAnswered(30, outcome))
    assert outcomes(world) == ["shown", "suppressed", outcome.value]
    world.tell(ev.WarningAnswered(30, Outcome.UNSEEN))
    world.advance(3600)
    assert len(world.notices) == 3
    assert shown(world) == [30]


@pytest.mark.parametrize(
    ("days", "toast", "away", "opened"),
    [
        (4, Outcome.UNSEEN, False, 0),
        (3, Outcome.UNSEEN, False, 1),
        (3, Outcome.FAILED, False, 1),
        (3, Outcome.SHOWN, False, 0),
        (3, Outcome.UNSEEN, True, 0),
    ],
)
def test_the_status_window_comes_in_place_of_a_warning_that_was_not_seen(
    days: int, toast: Outcome, away: bool, opened: int
) -> None:
    """In the last 3 days an unseen warning opens the status window, once per sign-in."""
    world = on_old_password()
    world.sleep((30 - days) * DAY - timedelta(hours=1))
    world.toast = toast
    world.hold = {"toast"}
    world.come("s1")
    if away:
        world.tell(ev.UserLeft())
    world.release("toast")
    world.advance(300)
    assert len(world.seen(do.OpenStatus)) == opened
    if not away:
        next_run(world, "s1")
        assert len(world.seen(do.OpenStatus)) == opened
        next_run(world, "s2")
        assert len(world.seen(do.OpenStatus)) == 2 * opened


# --- counting the days


def test_the_days_go_down_at_midnight() -> None:
    """The days left change at midnight in the PC's zone, by a timer."""
    world = World(local=ZoneInfo("Asia/Tokyo"))
    world.start()
    world.change(P2, push=False)  # noon in Tokyo
    assert world.timers[Timer.MIDNIGHT] - world.steady == 12 * 3600, "the view changes then"
    for after, days in (
        (timedelta(hours=11, minutes=59), 30), (timedelta(minutes=2), 29), (29 * DAY, 0),
    ):  # fmt: skip
        world.advance(after)
        assert world.view.days_left == days
    world.log_in(P2)
    assert Timer.MIDNIGHT not in world.timers, "nothing wakes a client that has nothing to count"
    assert world.tell(ev.TimerFired(Timer.MIDNIGHT)) == [do.StopTimer(Timer.MIDNIGHT)]


def test_a_wrong_pc_clock_does_not_mislead() -> None:
    """The days left follow the server's clock, also offline in a later run."""
    world = World()
    world.pc_error = timedelta(days=-3650)
    world.start()
    world.change(P2, push=False)
    world.come("s1")
    world.advance(3 * DAY)
    world.come("s2")
    offline_from_here(world, 2 * DAY, "s3")
    world.advance(61)
    assert shown(world) == [30, 27, 25]


def test_an_end_that_moves() -> None:
    """`password_status` may move the end; a notice has at most 36,500 days."""
    world = on_old_password()
    until = world.server_now + 2 * DAY
    for end in (datetime.max.replace(tzinfo=BEGIN.tzinfo), until):
        world.home.retired = [(P1, end)]
        world.session.refresh()
        world.run()
        world.come("s1", SignInKind.CONNECT)
        world.advance(60)
    assert [each.days_left for each in world.notices] == [36_500, 2]
    assert (world.view.valid_until, world.view.days_left) == (until, 2)
    world.advance(3 * DAY)
    assert world.state is State.NEEDS_PASSWORD


def test_no_more_days_than_the_server_said() -> None:
    """Offline, with the PC's clock set back 3 years, the days are at most the server's last."""
    world = on_old_password()
    world.advance(DAY)
    world.restart()
    world.pc_error = timedelta(days=-3 * 365)
    offline_from_here(world, timedelta())
    world.advance(61)
    assert world.view.days_left == 29
    assert shown(world)[-1] == 29


def test_a_certificate_out_of_date_makes_the_clock_doubtful() -> None:
    """After a certificate out of date, no days are shown until the server has said its time."""
    world = on_old_password()
    world.hold.add("connect")
    world.restart(session="s1")
    number = world.jobs["connect"].popleft().connection
    world.tell(ev.Disconnected(number, Failure(Reason.CERTIFICATE)))
    world.advance(61)
    assert shown(world) == []
    assert (world.view.days_left, world.view.valid_until) == (None, None)
    world.release("connect")
    world.advance(timedelta(hours=1))
    assert world.view.days_left == 30
    assert shown(world) == [30]
