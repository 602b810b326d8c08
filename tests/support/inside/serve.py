"""Keep the desktop, and run scripts of this folder in one process, because Wine starts slowly.

Each line of the input is a JSON list of a script's name and its arguments. The answer is one line:
a JSON list of the value that the script has printed, and the traceback where it failed.
The first answer says that the task bar is there. Wine closes it with the last program that has
windows, so this program asks for one.
"""

import contextlib
import ctypes
import io
import json
import pathlib
import runpy
import sys
import time
import traceback

if sys.platform != "win32":
    raise SystemExit("runs on Windows")
here = pathlib.Path(__file__).parent
user32 = ctypes.windll.user32
user32.GetDesktopWindow()
while not user32.FindWindowW("Shell_TrayWnd", None):
    time.sleep(0.05)
print(json.dumps([True, ""]), flush=True)
for line in sys.stdin:
    name, *sys.argv[1:] = json.loads(line)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(here / f"{name}.py"), run_name="__main__")
        answer = [json.loads(printed.getvalue()), ""]
    except Exception:  # noqa: BLE001 - the answer has it
        answer = [None, traceback.format_exc()]
    print(json.dumps(answer), flush=True)
