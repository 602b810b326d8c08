"""The model runs on the server tests' database."""

from __future__ import annotations

from tests.support.server_fixtures import _clock_back, _hash_once, database

__all__ = ["_clock_back", "_hash_once", "database"]
