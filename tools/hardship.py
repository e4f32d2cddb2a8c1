"""Stage: beside the house. In: processes that compute, compile, save and train on a machine that does them harm: a full
disk, a home that nobody may write, ``kill -9`` at random moments, clocks that jump, neighbours in the same folders,
500 processes that start at once, and low limits of memory, files and threads. Out: what came of it. Afterwards a new
process must compute right, checkpoints must be whole, the cache folder sound, and nothing may be left behind.
``python tools/hardship.py`` takes ten minutes; the exit code is 1 if anything was wrong.
Next: ``tests/unit/tools/test_hardship.py``."""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402
from minigrad import config  # noqa: E402
from minigrad.runtime import cache, cc  # noqa: E402
from tools import victims  # noqa: E402

Say = Callable[[str], None]
Hardship = Callable[["Place", random.Random, int, Say], list[str]]
"""Takes a place, random numbers, how hard to try, and where to say what came of it. Gives what was wrong."""

WAVE = 100
"""Processes at once: each takes some 30 MB."""


class Place:
    """Folders of its own for a process: a home, a cache, one for temporary files, one for checkpoints."""

    def __init__(self, root: str) -> None:
        self.root = root
        for name in ("home", "cache", "tmp", "files"):
            os.mkdir(os.path.join(root, name), 0o700)
        self.right = {name: self.run(name).stdout for name in ("compute", "train")}
        shutil.rmtree(self.at("cache"))

    def at(self, *names: str) -> str:
        """A path in it."""
        return os.path.join(self.root, *names)

    def environment(self, **settings: str) -> dict[str, str]:
        """What a process there is told."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MINIGRAD_", "XDG_"))}
        return {**kept, "PYTHONPATH": str(ROOT), "MINIGRAD_TIERS": "0", "MINIGRAD_CACHE_DIR": self.at("cache"),
                "TMPDIR": self.at("tmp"), "HOME": self.at("home"), **settings}

    def command(self, name: str, *arguments: str) -> list[str]:
        """How a program of ``victims.py`` is started there."""
        return [sys.executable, victims.__file__, name, self.at("files"), *arguments]

    def run(self, name: str, *arguments: str, before: Sequence[str] = (),
            **settings: str) -> subprocess.CompletedProcess[str]:
        """A program from beginning to end."""
        return subprocess.run([*before, *self.command(name, *arguments)], env=self.environment(**settings), check=False,
                              capture_output=True, text=True, timeout=600)

    def unsound(self) -> list[str]:
        """What is wrong there."""
        problems = []
        for settings in ({}, {"MINIGRAD_DEVICE": "CC"})[:1 + (cc.compiler() is not None)]:
            done = self.run("compute", **settings)
            if done.stdout != self.right["compute"] or done.stderr:
                problems.append(f"a new process {settings} printed {done.stdout + done.stderr}")
        with config.config(CACHE_DIR=self.at("cache"), CACHE=1):
            keys = [name for name in os.listdir(self.at("cache", "objects")) if re.fullmatch("[0-9a-f]{64}", name)]
            problems += [f"damaged entry {key}" for key in keys if cache.load(key) is None]
        model = self.at("files", "model.pt")
        if os.path.exists(model):
            try:
                self.whole(minigrad.load(model))
                minigrad.save({"step": 0, "weights": minigrad.zeros(3)}, model)
            except Exception as error:
                problems.append(f"checkpoint: {type(error).__name__}: {error}")
        left = [name for where in ("tmp", "files") for name in os.listdir(self.at(where))
                if name.startswith("minigrad") or name.endswith(".tmp")]
        return problems + [f"left behind {left}"] * bool(left)

    @staticmethod
    def whole(state: dict[str, minigrad.Tensor]) -> None:
        """Raises ``ValueError`` for a checkpoint of ``save_on`` that is not of one step."""
        if not bool((state["weights"] == state["step"]).all()):
            raise ValueError("a checkpoint of two steps")


def found(outcomes: Counter[str]) -> str:
    """How often what."""
    return ", ".join(f"{name} {n}" for name, n in outcomes.most_common())


# --- disks


def mounted(options: str, where: str) -> list[str]:
    """What starts a program that sees a disk of its own there; nothing where this may not be."""
    script = f'mount -t tmpfs -o {options} disk "$0" && exec "$@"'
    before = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, where]
    can = shutil.which("unshare") and not subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    return before if can else []


def full_disk(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """A disk that holds the cache, temporary files and a checkpoint, and becomes full."""
    before = mounted("size=400k", place.at("files"))
    if not before:
        say("full disk: no disk of our own can be mounted here")
        return []
    inside = {"MINIGRAD_CACHE_DIR": place.at("files", "cache"), "TMPDIR": place.at("files", "tmp")}
    problems = []
    for device in ("CPU", "CC")[:1 + (cc.compiler() is not None)]:
        done = place.run("fill_disk", before=before, MINIGRAD_DEVICE=device, **inside)
        say(f"full disk, {device}: {done.stdout.strip()}")
        if done.returncode:
            problems.append(f"full disk, {device}: {done.stdout}{done.stderr}")
    return problems


def read_only_home(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """A home that nobody may write, which is where the cache folder would be."""
    before = mounted("ro", place.at("home"))
    if not before:
        say("read-only home: no disk of our own can be mounted here")
        return []
    done = place.run("compute", before=before, MINIGRAD_CACHE_DIR="")
    right = done.stdout == place.right["compute"] and not done.stderr
    say("read-only home: " + ("the same result, nothing else said" if right else "wrong"))
    return [] if right else [f"read-only home: {done.stdout}{done.stderr}"]


# --- kills


def killed(place: Place, draw: random.Random, name: str, *arguments: str, **settings: str) -> str:
    """Start a program that prints a line for each thing done, and kill it in the middle of the first, the second … the
    tenth. The last line if it has ended before."""
    with subprocess.Popen(place.command(name, *arguments), env=place.environment(**settings), text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        moments, last = [time.monotonic()], ""
        for _ in range(draw.randrange(10)):
            last = process.stdout.readline() or last
            moments.append(time.monotonic())
        time.sleep(draw.uniform(0, min(2.0, moments[-1] - moments[max(0, len(moments) - 2)] or 1.0)))
        ended = process.poll() is not None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a compiler that it has started, too
        for line in process.stdout:
            last = line
        return last if ended and process.returncode == 0 else ""


def kills(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """``kill -9`` while programs are compiled (in the process and by the C compiler) and while checkpoints are written.
    Training that is killed again and again goes on, and comes to the same bits as without."""
    devices = ("CPU", "CC")[:1 + (cc.compiler() is not None)]
    for _ in range(size):
        for device in devices:
            killed(place, draw, "compile_on", MINIGRAD_DEVICE=device)
        killed(place, draw, "save_on")
    left = [name for _, folders, files in os.walk(place.root) for name in folders + files
            if name.startswith((".new-", "minigrad-cc-")) or name.endswith(".tmp")]
    say(f"kill -9: {size} times each in compiling for {' and '.join(devices)} and in saving; left at once: {len(left)}")
    times = 0
    while times < size and not (last := killed(place, draw, "train", place.at("files", "train.pt"))):
        times += 1
    if times == size:
        last = place.run("train", place.at("files", "train.pt")).stdout
    say(f"kill -9: {times} times in training")
    same = last.splitlines()[-1:] == place.right["train"].splitlines()[-1:]
    return [] if same else [f"training that was killed {times} times printed {last}"]


# --- clocks


def clocks(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """Processes whose clocks are years off, one after the other in the same folders."""
    problems = []
    offsets = [draw.choice((-1, 1)) * 10 ** draw.uniform(1, 9) for _ in range(size)]
    for offset in [*offsets, 0.0]:
        done = place.run("compute", str(offset))
        if done.stdout != place.right["compute"] or done.stderr:
            problems.append(f"a clock that is {offset} seconds off: {done.stdout}{done.stderr}")
    say(f"clocks: {len(offsets)} processes with other times: {len(problems)} wrong")
    return problems


# --- neighbours


def neighbours(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """Two processes that write the same checkpoint and fill and prune the same cache, while this one reads."""
    problems, read = [], 0
    model = place.at("files", "model.pt")
    minigrad.save({"step": 0, "weights": minigrad.zeros(3)}, model)
    with config.config(CACHE=0), both(place, "save_on", "prune_on") as processes:
        until = time.monotonic() + size
        while time.monotonic() < until:
            try:
                place.whole(minigrad.load(model))
                read += 1
            except Exception as error:
                problems.append(f"neighbours: {type(error).__name__}: {error}")
        problems += [f"neighbours: {p.args} ended" for p in processes if p.poll() is not None]
    say(f"neighbours: {read} times read while two wrote")
    return problems


@contextmanager
def both(place: Place, *names: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes of each program, killed at the end."""
    processes = [subprocess.Popen(place.command(name), env=place.environment(), stdout=subprocess.DEVNULL)
                 for name in names for _ in range(2)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def crowd(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """Fifty times ``size`` processes, a wave of them at once, with one cache folder that is new."""
    problems: list[str] = []
    results: set[str] = set()
    shutil.rmtree(place.at("cache"), ignore_errors=True)
    for first in range(0, 50 * size, WAVE):
        done = place.run("start_many", str(min(WAVE, 50 * size - first)))
        results |= {*done.stdout.splitlines()}
        if done.returncode or done.stderr:
            problems.append(f"crowd: {done.stdout}{done.stderr}")
    if len(results) != 5 or f"0 {place.right['compute'].strip()}" not in results:
        problems.append(f"crowd: {results}")
    say(f"crowd: {50 * size} processes, {WAVE} at once: {len(problems)} waves wrong")
    started = [subprocess.Popen(place.command("compute"), env=place.environment(), stdout=subprocess.PIPE, text=True)
               for _ in range(2 * size)]
    wrong = sum(process.communicate()[0] != place.right["compute"] for process in started)
    say(f"crowd: {len(started)} more, each from its start: {wrong} wrong")
    return problems + [f"crowd: {wrong} results wrong"] * bool(wrong)


# --- limits


def limits(place: Place, draw: random.Random, size: int, say: Say) -> list[str]:
    """Limits of memory, files and threads, tight and less so. When they are lifted, the same process computes right."""
    problems = []
    steps = {"memory": [0, 32, 64, 128, 192, 256], "files": list(range(9)), "threads": [0],
             "memory for compiling": [0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 64]}
    for kind, all_of_them in steps.items():
        outcomes: Counter[str] = Counter()
        for step in draw.sample(all_of_them, min(len(all_of_them), size)):
            shutil.rmtree(place.at("cache"), ignore_errors=True)
            done = place.run("limited", kind, str(step))
            if "bad_alloc" in done.stderr or "LLVM ERROR" in done.stderr:  # docs/promises.md
                outcomes["LLVM ended the process"] += 1
                continue
            *lines, last, _ = done.stdout.split("\n") if done.returncode == 0 else ("", "")
            outcomes.update(lines)
            if done.returncode or last + "\n" != place.right["compute"]:
                problems.append(f"{kind} {step}: ended with {done.returncode}: {done.stdout}{done.stderr}")
        say(f"limits of {kind}: {found(outcomes)}")
    return problems


HARDSHIPS: tuple[Hardship, ...] = (full_disk, read_only_home, kills, clocks, neighbours, crowd, limits)


def suffer(hardships: Sequence[Hardship], seed: int, size: int, say: Say) -> list[str]:
    """All of them, each in a place of its own; what was wrong."""
    problems = []
    for hardship in hardships:
        with tempfile.TemporaryDirectory() as root:
            place = Place(root)
            here = hardship(place, random.Random(seed), size, say)
            here += [f"after {hardship.__name__}: {problem}" for problem in place.unsound()]
            for problem in here:
                say(f"  {problem}")
            problems += here
    return problems


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python tools/hardship.py", description=__doc__)
    names = [hardship.__name__ for hardship in HARDSHIPS]
    parser.add_argument("hardships", nargs="*", metavar="hardship", help=f"which ({', '.join(names)})")
    parser.add_argument("--size", type=int, default=10, help="kills, clocks, seconds, 50 processes each (10)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the moments (drawn)")
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    chosen = [h for h in HARDSHIPS if not options.hardships or h.__name__ in options.hardships]
    problems = suffer(chosen, options.seed, options.size, lambda line: print(line, flush=True))
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
