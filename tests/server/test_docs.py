"""The page on running the server names what there is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from server.config import Config
from server.gateway import throttle
from server.gateway.session import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")


def test_every_setting_is_documented() -> None:
    """A new key cannot be forgotten in the table."""
    settings = PAGE.partition("## Settings")[2].partition("## ")[0]
    for setting in fields(Config):
        assert f"`{setting.name}`" in settings


def test_limits_are_as_documented() -> None:
    """A limit that is changed is changed on the page, too."""
    for item in (throttle.PER_USER_AND_ADDRESS, throttle.PER_ADDRESS, throttle.PER_USER):
        assert f"| {item.amount} in {item.get_expiry() // 60} minutes |" in PAGE
    limits = Limits()
    assert f"| {limits.per_address:,} and {limits.unproven_per_address} |" in PAGE
    assert f"| {limits.message_burst} at once, {limits.messages_per_s} a second |" in PAGE
