"""Keep the desktop's task bar, which Wine closes with the last program that has windows.

`idle.py FILE` makes FILE when the task bar is there.
"""

import ctypes
import pathlib
import sys
import time

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
user32 = ctypes.windll.user32
user32.GetDesktopWindow()
while not user32.FindWindowW("Shell_TrayWnd", None):
    time.sleep(0.05)
pathlib.Path(sys.argv[1]).touch()
time.sleep(1_000_000)
