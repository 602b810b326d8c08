"""The server's fixtures for all tests below."""

from tests.support.server_fixtures import (
    _clock_back,
    _hash_once,
    account,
    administrator,
    database,
    gateway,
    make_device,
    make_user,
    user,
)

__all__ = [
    "_clock_back",
    "_hash_once",
    "account",
    "administrator",
    "database",
    "gateway",
    "make_device",
    "make_user",
    "user",
]
