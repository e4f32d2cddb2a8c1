"""Stage: the way in. In: the command line of ``python -m tools.bench`` or ``python tools/bench``. Out: its exit code.
Next: ``cli.py``."""

import sys
from pathlib import Path

if not __package__:  # run as `python tools/bench`: the path starts with this folder, and should start with the checkout
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
