"""Build, pack and sign the Windows program: see docs/windows-build.md."""
