"""Run a program to its end and say its exit status, all 32 bits of it: Linux sees only eight."""

import json
import subprocess
import sys

nothing = subprocess.DEVNULL
done = subprocess.run(sys.argv[1:], stdin=nothing, stdout=nothing, stderr=nothing, check=False)
print(json.dumps(done.returncode))
