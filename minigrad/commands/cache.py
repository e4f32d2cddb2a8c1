"""Stage: the command line. In: what to do. Out: the folder of compiled kernels, shown or made smaller.
Next: ``doctor.py``."""

from __future__ import annotations

import argparse
import sys
import time

from minigrad import config
from minigrad.runtime import cache
from minigrad.runtime.folder import NotPrivate

MIB = 1 << 20


def main(arguments: list[str]) -> int:
    """Do it; the exit status: 1 if the folder cannot be used."""
    parser = argparse.ArgumentParser("python -m minigrad cache", description="The folder of compiled kernels.")
    parser.add_argument("action", nargs="?", choices=("show", "clear", "limit"), default="show",
                        help="clear removes all; limit MIB what was used longest ago, until the rest takes less")
    parser.add_argument("mib", nargs="?", type=int, help="of limit: MiB that may stay")
    options = parser.parse_args(arguments)
    if (options.mib is not None) != (options.action == "limit") or (options.mib is not None and options.mib < 0):
        parser.error("limit takes a number of MiB, and the others none")
    try:
        before = len(cache.contents())
        if options.action != "show":
            cache.shrink((options.mib or 0) * MIB)
            print(f"{before - len(cache.contents())} of {before} files removed")
        print("\n".join(lines()))
        return 0
    except (NotPrivate, OSError) as error:
        print(f"the folder cannot be used: {error}", file=sys.stderr)
        return 1


def lines() -> list[str]:
    """Where the folder is, what it holds, and how it is kept small. Raises ``NotPrivate`` and ``OSError``."""
    entries = cache.contents()
    size = sum(entry.size for entry in entries)
    unused = "" if config.get("CACHE") else ", which is not used: setting CACHE is 0"
    found = [f"folder   {cache.cache_root() / cache.FOLDER}{unused}",
             f"holds    {len(entries)} files, {size / MIB:.1f} MiB"]
    if entries:
        days = max(0.0, time.time() - entries[0].used) / 86400
        found[-1] += f"; longest unused: {days:.0f} days"
    found.append(f"limit    {cache.limit() // MIB} MiB (setting CACHE_LIMIT) and {cache.ENTRIES} files: what was used "
                 "longest ago goes first")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
