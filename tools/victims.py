"""Stage: beside the house. In: the name of a program, a folder for its checkpoints, arguments. Out: what it prints.
These are the processes that ``hardship.py`` does harm to; those that end with ``_on`` go on until they are killed.
Next: ``hardship.py``."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402
from minigrad.errors import MinigradError  # noqa: E402
from minigrad.runtime import cache  # noqa: E402


def result(variant: int = 0) -> Any:
    """Some numbers by several kernels."""
    x = minigrad.arange(60.0 + 6 * variant).reshape(6, -1)
    return ((x.sin() * 3 - x).softmax(1) @ x.T).sum(0).tolist()


def compute(files: str, ahead: str = "0") -> None:
    """The numbers, printed, by a clock that is so many seconds ahead."""
    clock = time.time
    if float(ahead):
        time.time = lambda: clock() + float(ahead)
        plain = os.utime

        def touch(*arguments: Any, **options: Any) -> None:
            plain(*arguments, **{**options, "times": (time.time(),) * 2})

        os.utime = touch
    print(result())


def compile_on(files: str) -> None:
    """New programs, one after the other. Those that are killed say how far they are."""
    for i in count():
        result(i)
        print(i, flush=True)


def save_on(files: str) -> None:
    """The same checkpoint, again and again."""
    path, first = os.path.join(files, "model.pt"), os.getpid() * 1000
    for i in count():
        minigrad.save({"step": first + i, "weights": minigrad.full((50_000,), first + i, dtype=minigrad.int64)}, path)
        print(i, flush=True)


def prune_on(files: str) -> None:
    """New programs, with a cache that has no room for them."""
    cache.limit, cache._is_due = lambda: 60_000, lambda *_: True
    right = [result(i) for i in range(4)]
    for i in count():
        minigrad.engine.plans.clear()
        if result(i % 4) != right[i % 4]:
            sys.exit("a wrong result")


def train(files: str, checkpoint: str = "") -> None:
    """A loop of 40 steps that goes on from the checkpoint if there is one, and writes one at each step."""
    model = minigrad.nn.Sequential(minigrad.nn.Linear(4, 8), minigrad.nn.Dropout(0.1), minigrad.nn.Linear(8, 2))
    minigrad.manual_seed(3)
    with minigrad.no_grad():
        for p in model.parameters():
            p.copy_(minigrad.rand_like(p) - 0.5)
    optimizer, step = minigrad.optim.Adam(model.parameters()), 0
    if checkpoint and os.path.exists(checkpoint):
        state = minigrad.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        minigrad.set_rng_state(state["numbers"])
        step = state["step"]
    while step < 40:
        optimizer.zero_grad()
        model(minigrad.rand(5, 4)).square().mean().backward()
        optimizer.step()
        step += 1
        print(step, flush=True)
        if checkpoint:
            minigrad.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                           "numbers": minigrad.get_rng_state()}, checkpoint)
    print([p.tolist() for p in model.parameters()])


def attempt(what: Callable[[], object]) -> str:
    """The exception, or "done". What is no exception for a lack of something ends the process."""
    try:
        what()
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except (MinigradError, MemoryError, ImportError) as error:
        return type(error).__name__
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        return "no thread"


def fill_disk(files: str) -> None:
    """Compute and save on a disk that becomes full, and when there is room again."""
    path, fill = os.path.join(files, "model.pt"), os.path.join(files, "fill")
    os.mkdir(os.environ["TMPDIR"])
    minigrad.save({"step": 1}, path)
    with open(fill, "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)) == 4096:
            pass
    before = {*os.listdir(files)}
    numbers: list[Any] = []
    said = [f"computing {attempt(lambda: numbers.append(result()))}",
            f"saving {attempt(lambda: minigrad.save({'step': 2, 'weights': minigrad.ones(50_000)}, path))}"]
    print(", ".join(said))
    assert minigrad.load(path)["step"] == 1
    assert {*os.listdir(files)} - {"cache"} == before and not os.listdir(os.environ["TMPDIR"]), os.listdir(files)
    os.unlink(fill)
    numbers.append(result())
    minigrad.save({"step": 3}, path)
    assert minigrad.load(path)["step"] == 3
    assert all(found == numbers[-1] for found in numbers)


def start_many(files: str, number: str) -> None:
    """So many processes that all begin at the same moment. Each prints the number of one of five programs, and what it
    has computed."""
    gate, opened = os.pipe()
    children = []
    for i in range(int(number)):
        child = os.fork()
        if not child:
            os.close(opened)
            os.read(gate, 1)
            status = 1
            try:
                os.write(1, f"{i % 5} {result(i % 5)}\n".encode())
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(opened)
    wrong = [code for child in children if (code := os.waitpid(child, 0)[1])]
    if wrong:
        sys.exit(f"{len(wrong)} of {number} went wrong: {wrong}")


def limited(files: str, kind: str, room: str) -> None:
    """Several programs with little room; then without the limit, as before."""
    path = os.path.join(files, "limited.pt")
    minigrad.save({"step": 1}, path)
    programs: dict[str, Callable[[], Any]] = {
        "computing": result, "a large sum": lambda: minigrad.ones(3_000_000).sum().item(),
        "sorting": lambda: minigrad.arange(300_000).flip(0).sort()[0][7].item(),
        "saving": lambda: minigrad.save({"step": 2}, path), "loading": lambda: minigrad.load(path)["step"]}
    lift = LIMITS[kind](int(room))
    said = {name: attempt(program) for name, program in programs.items()}
    lift()
    for name, outcome in said.items():
        print(name, outcome)
    assert programs["a large sum"]() == 3e6 and programs["sorting"]() == 7
    assert programs["loading"]() == (2 if said["saving"] == "done" else 1)
    if kind.startswith("memory"):  # without any, nothing can be tidied up; the next save does
        minigrad.save({"step": 3}, path)
    assert os.listdir(files) == ["limited.pt"], os.listdir(files)
    print(result())


def _limit(name: str, now: int) -> Callable[[], None]:
    import resource

    which = getattr(resource, name)
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (now, hard))
    return lambda: resource.setrlimit(which, (soft, hard))


def little_memory(room: int) -> Callable[[], None]:
    """So many MB more than it has; a function that lifts the limit."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return _limit("RLIMIT_AS", pages * os.sysconf("SC_PAGE_SIZE") + (room << 20))


def few_files(room: int) -> Callable[[], None]:
    """So many files more than it has open."""
    return _limit("RLIMIT_NOFILE", max(map(int, os.listdir("/proc/self/fd"))) + room)


def no_threads(room: int) -> Callable[[], None]:
    """None at all. The system's limit does not bind root, so Python refuses."""
    import threading

    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    plain = getattr(threading, name)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("can't start new thread")

    setattr(threading, name, refuse)
    return lambda: setattr(threading, name, plain)


def little_for_compiling(room: int) -> Callable[[], None]:
    """The same when the compiler, which takes most of it, is loaded already."""
    result(1)
    return little_memory(room)


LIMITS = {"memory": little_memory, "memory for compiling": little_for_compiling,
          "files": few_files, "threads": no_threads}
VICTIMS: dict[str, Callable[..., None]] = {f.__name__: f for f in (
    compute, compile_on, save_on, prune_on, train, fill_disk, start_many, limited)}

if __name__ == "__main__":
    VICTIMS[sys.argv[1]](*sys.argv[2:])
