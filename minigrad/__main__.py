"""Stage: the command line. In: the name of a command and its arguments. Out: what it does.
Next: ``commands/``.

    python -m minigrad doctor
    python -m minigrad cache clear
"""

from __future__ import annotations

import runpy
import sys

import minigrad
from minigrad.commands import COMMANDS
from minigrad.commands.terminal import paint


def main(arguments: list[str]) -> int:
    """Run the command; without one, or for one that is unknown, say which there are. The exit status."""
    if arguments[:1] in (["-V"], ["--version"]):
        print(f"minigrad {minigrad.__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] not in COMMANDS:
        print(f"{usage()}\n\nunknown command {arguments[0]}", file=sys.stderr)
        return 2
    sys.argv = [arguments[0], *arguments[1:]]
    runpy.run_module(COMMANDS[arguments[0]][0], run_name="__main__", alter_sys=True)
    return 0


def usage() -> str:
    """The help page."""
    commands = [f"  {paint(f'{name:<12}', 'head')} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "\n".join(["usage: python -m minigrad command [arguments ...]", "", *commands, "",
                      "python -m minigrad command --help says what a command takes."])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
