"""Stage: tests of devices. In: the command line of ``minigrad.conformance``, without a device. Out: its report on the
CUDA emulation, and its exit code. ``python -m tests.cuda_emulation --only '^reduce/'``. Next: ``test_emulation.py``."""

from __future__ import annotations

import os
import sys

from minigrad.conformance.__main__ import main
from tests.cuda_emulation.device import NAME

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--sanitize" in arguments:  # report what C++ leaves undefined, on stderr
        arguments.remove("--sanitize")
        os.environ["EMULATION_SANITIZE"] = "1"
    sys.exit(main([NAME, *arguments]))
