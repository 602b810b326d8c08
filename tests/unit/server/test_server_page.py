"""docs/server.md and docs/operations.md list all settings, limits and metrics."""

from __future__ import annotations

import json
import re
from dataclasses import fields

from prometheus_client.metrics import MetricWrapperBase

from server import metrics
from server.commands import serve
from server.config import Config
from server.console import http, lockout
from server.gateway import batcher, connection, handshake, listener, pairings
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "server.md").read_text("utf-8")


def test_every_setting_is_documented() -> None:
    """The table on docs/server.md has every setting."""
    settings = PAGE.partition("## Settings")[2].partition("## ")[0]
    assert [each.name for each in fields(Config) if f"`{each.name}`" not in settings] == []


def test_limits_are_as_documented() -> None:
    """docs/server.md states each limit as it is in the code."""
    limits = Config()
    for number, minutes in (
        (limits.refusals_per_device, 5),
        (limits.refusals_per_address, 5),
        (limits.refusals_per_user, 10),
    ):
        assert f"| {number} in {minutes} minutes |" in PAGE
    assert f"| {handshake.MAX_HEAD_BYTES >> 10} KiB |" in PAGE
    assert f"| {batcher.MAX_QUEUED:,} |" in PAGE
    assert f"file descriptors less {serve.RESERVED_FILES:,}" in PAGE
    assert f"| {limits.connections_per_address:,} and {limits.unproven_per_address} |" in PAGE
    assert f"| {pairings.MAX_OPEN_PER_ADDRESS}, {pairings.MAX_OPEN} | `throttled` |" in PAGE
    assert pairings.NEW_WITHIN_SECONDS == 3600
    assert f"| {pairings.MAX_NEW} in an hour |" in PAGE
    assert f"| {connection.FRAME_BURST} at once, {connection.FRAMES_PER_S} a second |" in PAGE


def test_every_metric_is_documented() -> None:
    """Each metric is in the table; alerts and dashboard are about metrics that exist."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    table, _, rules = page.partition("## Metrics")[2].partition("## ")[0].partition("groups:")
    collectors = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    ours = [metric for each in collectors for metric in each.collect()]
    for metric in ours:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        assert re.search(rf"`{name}(\{{\w+\}})?`", table), name
    series = {f"{each.name}{end}" for each in ours for end in ("", "_total", "_bucket", "_count")}
    assert set(re.findall(r"coconowork_\w+", rules)) <= series
    dashboard = json.loads((ROOT / "installer" / "grafana.json").read_text("utf-8"))
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    drawn = set(re.findall(r"coconowork_\w+", " ".join(shown)))
    assert drawn <= series
    assert {re.sub("_(total|bucket|count)$", "", each) for each in drawn} == {
        each.name for each in ours
    }


def test_limits_of_the_console_are_as_documented() -> None:
    """docs/server.md states each limit of the console as it is in the code."""
    limits = PAGE.partition("## Limits of the console")[2].partition("## ")[0]
    assert f"| {http.PER_ADDRESS} | cut off |" in limits
    assert f"| {http.MAX_CONNECTIONS:,}, and half of" in limits
    assert f"| {http.MAX_REQUESTS} | wait for one to end |" in limits
    assert f"| {http.HEAD_SECONDS:.0f} s | cut off |" in limits
    assert f"| {http.MAX_HEAD_BYTES >> 10} KiB | 400 |" in limits
    assert f"| {http.BODY_SECONDS:.0f} s, {http.MAX_BODY_BYTES >> 20} MiB |" in limits
    assert f"| {http.MAX_FORM_BYTES >> 10} KiB | sent to the login |" in limits
    assert f"| {http.PAGE_SECONDS:.0f} s | 503 with `Retry-After` |" in limits
    wrong = (lockout.LIMIT_USER_AND_ADDRESS, lockout.LIMIT_USER, lockout.LIMIT_ADDRESS)
    minutes = lockout.WINDOW.total_seconds() // 60
    assert f"| {wrong[0]}, {wrong[1]}, {wrong[2]} in {minutes:.0f} minutes | 429 |" in limits


def test_what_a_load_from_outside_meets_is_as_documented() -> None:
    """docs/benchmarks.md states exactly the limits that a load generator meets."""
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    meets, limits = page.partition("## Load generators")[2], Config()
    assert f"from the {limits.connections_per_address:,}th client" in meets
    assert f"from the {limits.unproven_per_address}th that has not logged in" in meets
    assert f"the kernel keeps {listener.BACKLOG:,} of them" in meets
    user, address = limits.refusals_per_device, limits.refusals_per_address
    assert f"{user} of one user, {address} from one address, in 5 minutes" in meets
    assert f"{connection.FRAME_BURST} frames at once or {connection.FRAMES_PER_S} a second" in meets
    ping, pong = connection.PING_SECONDS, connection.PONG_SECONDS
    assert f"silent for {ping} s, and waits {pong} s" in meets
