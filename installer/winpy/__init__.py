"""Assemble a CPython for Windows on Linux from pinned parts; see docs/windows-build.md."""
