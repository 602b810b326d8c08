"""The fixtures of the server's tests."""

from tests.support.server_fixtures import *  # noqa: F403
