"""Stage: the command line. In: nothing. Out: what ``python -m minigrad`` can do, a row each.
Next: ``terminal.py``."""

COMMANDS = {
    "devices": ("minigrad.commands.devices", "the devices, which can be used here, and what mends the others"),
    "doctor": ("minigrad.commands.doctor", "versions, devices, the cache, this machine's speed, and a short self-test"),
    "cache": ("minigrad.commands.cache", "the folder of compiled kernels: show, clear, limit"),
    "explain": ("minigrad.explain", "run a program and write a page: its lines, the kernels they became, their time"),
    "tune": ("minigrad.tune", "run a program and search for faster loops for its kernels"),
    "conformance": ("minigrad.conformance", "check a device, op by op, against the reference"),
    "torch": ("minigrad.torch", "run a PyTorch program by minigrad"),
}
"""For each name the module that runs, and what it is for."""
