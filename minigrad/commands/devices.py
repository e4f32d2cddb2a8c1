"""Stage: the command line. In: nothing. Out: a line for each device, and what mends those that cannot be used.
Next: ``cache.py``."""

from __future__ import annotations

import argparse
import sys

from minigrad import config
from minigrad.commands.terminal import mark, paint
from minigrad.runtime.device import DeviceInfo, device_class, device_name, devices


def main(arguments: list[str]) -> int:
    """Print them; the exit status: 1 if the device that new tensors get cannot be used."""
    parser = argparse.ArgumentParser("python -m minigrad devices", description="The devices, and what mends those that "
                                     "cannot be used.")
    parser.parse_args(arguments)
    print("\n".join(lines()))
    return 0 if chosen_works() else 1


def chosen_works() -> bool:
    """Whether the device of setting DEVICE can be used."""
    try:
        chosen = device_name(config.get("DEVICE")).partition(":")[0]
    except RuntimeError:
        return False
    return any(d.name == chosen and d.available for d in devices())


def lines() -> list[str]:
    """A line for each device, the chosen one marked, and the reason where one cannot be used."""
    found = []
    chosen = config.get("DEVICE").upper().partition(":")[0]
    known = devices()
    if chosen not in [d.name for d in known]:
        found.append(f"{mark(False)} {paint(chosen, 'head')}: setting DEVICE names it, and no package brings it")
    for device in known:
        note = paint(" (new tensors are made here: setting DEVICE)", "faint") if device.name == chosen else ""
        found.append(f"{mark(True if device.available else None)} {paint(f'{device.name:<7}', 'head')} "
                     f"{device.description}{_count(device)}{note}")
        if not device.available:
            found.append(f"          {device.reason}")
    return found


def _count(device: DeviceInfo) -> str:
    count = device_class(device.name).count() if device.available else 1
    return f", {count} of them" if count > 1 else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
