"""Read the file of modules once, before the program starts.

PyInstaller itself opens the file again for each module. That takes longer than the import, and ends
a program whose file an update has replaced.
"""

import io

import pyimod01_archive  # type: ignore[import-not-found] # PyInstaller's, in the frozen program
import pyimod02_importers  # type: ignore[import-not-found]

with open(pyimod02_importers.pyz_archive._filename, "rb") as file:  # noqa: PTH123, SLF001 - its own
    content = file.read()
pyimod01_archive.open = lambda *_: io.BytesIO(content)
