"""Comparing two versions of the client."""

from __future__ import annotations

import pytest

from protocol.versions import is_older


@pytest.mark.parametrize(
    ("than", "fine", "older"),
    [
        ("", ["1.2.3", "anything"], []),
        ("1", ["9" * 400], ["0.9", "go client", "", "１.0"]),
        ("1.2.0", ["1.2"], []),
        ("1.2.3", ["1.2.3"], ["1.2.2"]),
        ("1.3", ["1.3.0-rc1"], []),
        ("1.9", ["1.10"], []),
    ],
)
def test_versions(than: str, fine: list[str], older: list[str]) -> None:
    """Versions are compared number by number; a text without numbers is the oldest."""
    assert [each for each in fine + older if is_older(each, than)] == older
