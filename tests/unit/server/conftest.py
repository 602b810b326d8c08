"""The server's fixtures for all tests below."""

from tests.support.server_fixtures import (  # noqa: F401 - pytest finds them here
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
