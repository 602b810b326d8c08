"""Keeps the desktop's task bar: Wine closes it with the last program that has windows."""

import ctypes
import sys
import time

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
ctypes.windll.user32.GetDesktopWindow()
time.sleep(1_000_000)
