"""The server's fixtures for the tests of security."""

from tests.support.server_fixtures import *  # noqa: F403
