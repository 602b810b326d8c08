"""Assemble the Windows Python if necessary and print its folder: `python -m installer.winpy`."""

from __future__ import annotations

import argparse
import sys

from installer.needs import MissingNeeds, require
from installer.winpy.assemble import assemble


def main() -> int:
    """Print the folder, and return exit status 1 when a needed package is missing."""
    argparse.ArgumentParser(prog="python -m installer.winpy", description=__doc__).parse_args()
    try:
        require("winpy")
    except MissingNeeds as error:
        print(error, file=sys.stderr)
        return 1
    print(assemble())
    return 0


if __name__ == "__main__":
    sys.exit(main())
