"""Stage: all tests. In: pytest's start. Out: settings, fixtures and options that every test may count on.
Every intermediate form is verified, compiled kernels go to a folder of this run, random numbers are seeded.
Next: ``tests/architecture/test_imports.py``."""

from __future__ import annotations

import contextlib
import doctest
import gc
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Before anything imports minigrad. A user's own cache folder is not for tests to fill; the workers of a parallel run
# share the folder that the process made which started them.
_MADE = "" if "PYTEST_XDIST_WORKER" in os.environ else tempfile.mkdtemp(prefix="minigrad-tests-")
os.environ["MINIGRAD_CACHE_DIR"] = _MADE or os.environ["MINIGRAD_CACHE_DIR"]
os.environ.setdefault("MINIGRAD_VERIFY", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples in every run, and no timing: shared machines are slow at times.
settings.register_profile("minigrad", deadline=None, derandomize=True, max_examples=50, database=None,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.load_profile("minigrad")

HERE = Path(__file__).parent
GOLDEN = HERE / "tests" / "golden"
BESIDE = "" if importlib.util.find_spec("torch") else "tests/torch"  # what needs PyTorch, where there is none
collect_ignore = [BESIDE] if BESIDE else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the rng fixture and of minigrad's generator")
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in tests/golden")
    parser.addoption("--every-case", action="store_true", help="all cases of the tests marked with sample(count)")


_SAMPLED: list[str] = []


@pytest.fixture
def sampled() -> Callable[[str], None]:
    """Call it with what was sampled: it is printed at the end of the run, a sample is never silent."""
    return _SAMPLED.append


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the cases of a test marked with ``sample(count)`` that many stay, unless ``--every-case`` asks for all. They
    are chosen by a hash of seed and name: one case more or less does not change which others are taken."""
    if config.getoption("--every-case"):
        return
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sample"):
            cases[item.nodeid.partition("[")[0]].append(item)
    seed, left = config.getoption("--seed"), set[pytest.Item]()
    for name, group in cases.items():
        (count,) = group[0].get_closest_marker("sample").args  # type: ignore[union-attr]
        left.update(sorted(group, key=lambda item: crc32(f"{seed}/{item.nodeid}".encode()))[count:])
        if len(group) > count and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":  # all workers leave out these
            _SAMPLED.append(f"{name}: {count} of {len(group)} cases, seed {seed}")
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=list(left))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of a parallel run hands its lines on."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["sampled"] = _SAMPLED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    _SAMPLED.extend(getattr(node, "workeroutput", {}).get("sampled", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in _SAMPLED:
        terminalreporter.write_line(line)
    if BESIDE:
        terminalreporter.write_line(f"{BESIDE}: not run, PyTorch is not installed")
    terminalreporter.write_line(f"random numbers: --seed {config.getoption('--seed')}")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Next to nothing of what is made meanwhile is garbage, and looking for it takes a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """A test, or a doctest, for which a package of an extra is missing is skipped."""
    try:
        return (yield)
    except (ImportError, doctest.UnexpectedException) as found:
        error = found.exc_info[1] if isinstance(found, doctest.UnexpectedException) else found
        if isinstance(error, ImportError) and "pip install 'minigrad[" in str(error):
            pytest.skip(str(error))
        raise


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """pytest imports a module with doctests by its path: first the packages around it, then the module, even if these
    have imported it. Then there are two of it, with settings and classes of their own, and ``minigrad.tensor`` is the
    second one, which nobody made callable. What has been imported by its name, it takes as it is."""
    if (parent.config.option.doctestmodules and file_path.suffix == ".py" and file_path.stem != "__main__"
            and file_path.is_relative_to(HERE / "minigrad")):
        parts = file_path.relative_to(HERE).with_suffix("").parts
        with contextlib.suppress(Exception):  # pytest meets it again, and reports it
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests that wait are nothing that Python's garbage collector need look at again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _MADE:
        shutil.rmtree(_MADE, ignore_errors=True)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The number given by ``--seed``."""
    return request.config.getoption("--seed")


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """NumPy random numbers: the same in every run, for every test from the start."""
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    generator = sys.modules.get("minigrad.tensor.generator")
    if generator is not None:
        generator.manual_seed(request.config.getoption("--seed"))


@pytest.fixture(autouse=True)
def _no_sizes_seen() -> None:
    """Which sizes and lengths earlier tests came with decides nothing in this one (``engine/tiers.py``)."""
    realise = sys.modules.get("minigrad.engine.realise")
    if realise is not None:
        realise.plans.sightings.clear()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _nothing_traced() -> None:
    """Nor do the calls that earlier tests made: after too many different ones no more are remembered."""
    replay = sys.modules.get("minigrad.tensor.replay")
    if replay is not None:
        replay.thread.forget()


@pytest.fixture(autouse=True, scope="module")
def _no_longer_looked_at() -> None:
    """Many tests let Python's garbage collector look at all there is. What the tests of other files left alive, such as
    plans, it need not look at again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], None]]:
    """``golden(name, text)``: ``text`` must be what ``tests/golden/name`` holds; ``--update-golden`` rewrites it."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no file {path}; run pytest -n 0 --update-golden to write it"
        assert text == path.read_text(encoding="utf-8")

    yield check


def _disarm() -> None:
    """Take the checks for subclasses of Tensor out of its methods."""
    overrides = sys.modules.get("minigrad.tensor.overrides")
    if overrides is not None and overrides.armed:
        overrides.disarm()


def pytest_collectreport(report: object) -> None:
    """A subclass of Tensor that a file of tests defines leaves the methods of Tensor as they were."""
    _disarm()


@pytest.fixture(autouse=True)
def _nobody_asked() -> Iterator[None]:
    """And so does one that a test defines."""
    yield
    _disarm()
