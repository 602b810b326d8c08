"""Run a program with many command lines: `arguments.py LINES ANSWER PROGRAM`.

LINES is a file with a JSON list of lists of words, ANSWER the file that the program writes. Print
exit code and answer of each, null for no answer. One interpreter does all: Wine starts slowly.
"""

import json
import pathlib
import subprocess
import sys

lines, answer = map(pathlib.Path, sys.argv[1:3])
answers = []
for words in json.loads(lines.read_text("utf-8")):
    answer.unlink(missing_ok=True)
    nothing = subprocess.DEVNULL
    done = subprocess.run(
        [sys.argv[3], *words],
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        timeout=30,
        check=False,
    )
    answers.append((done.returncode, answer.read_text("utf-16-le") if answer.exists() else None))
print(json.dumps(answers))
