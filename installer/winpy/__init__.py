"""A CPython for Windows, put together on Linux from pinned parts; see docs/windows-build.md."""
