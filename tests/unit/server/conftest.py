"""The fixtures of the server."""

from tests.support.server_fixtures import *  # noqa: F403
