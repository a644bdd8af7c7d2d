"""``python -m odekit``: the command line."""

import sys

from odekit.cli import main

if __name__ == "__main__":
    sys.exit(main())
