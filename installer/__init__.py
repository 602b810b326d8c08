"""Build, pack and sign the Windows program: see docs/windows-build.md."""

from __future__ import annotations

NAME = "coconowork-client"


class BuildError(Exception):
    """A step of the build failed; the message has the output of its program."""
