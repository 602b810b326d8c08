"""Run a program to its end and write its exit status, all 32 bits of it: Linux sees only eight.

`start.py FILE PROGRAM …`. Into a file, because what the program leaves running may keep a pipe.
"""

import pathlib
import subprocess
import sys

nothing = subprocess.DEVNULL
done = subprocess.run(sys.argv[2:], stdin=nothing, stdout=nothing, stderr=nothing, check=False)
pathlib.Path(sys.argv[1]).write_text(str(done.returncode), encoding="ascii")
