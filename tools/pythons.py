"""Stage: beside the house. In: the Python interpreters of this machine, and with ``--install`` those that uv or Debian
have. Out: a table of how the aliasing part of the tests did on each version that minigrad supports: ownership, views,
in-place updates, memory shared with others, growth, threads, replay, jit. ``python tools/pythons.py --install`` takes
a few minutes, and three or more for each version with ``--whole``: all tests that README's command runs. The exit code
is 1 if anything failed; a version that is not to be had is a line of the table.
Next: ``tests/unit/tools/test_pythons.py``."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

FREE_THREADED = ("3.14t",)
"""Builds without the interpreter's lock. They are tried, but no promise of support."""

QUICK = ("tests/unit/engine/test_walk.py", "tests/unit/runtime/test_buffer.py", "tests/unit/tensor/test_views.py",
         "tests/unit/tensor/test_threads.py")
"""Who may read a value later, on each level: graph, memory, Tensors, threads. A few seconds."""

ALIASING = (*QUICK, "tests/unit/engine/test_realise.py", "tests/unit/autograd/test_backward.py",
            "tests/unit/tensor/test_indexing.py", "tests/unit/tensor/test_numpy_memory.py",
            "tests/unit/tensor/test_dlpack.py", "tests/unit/tensor/test_growth.py", "tests/unit/tensor/test_replay.py",
            "tests/unit/optim", "tests/unit/jit")
"""All tests that would fail if a value were written over that somebody can still read, or kept when nobody can."""

NEEDED = ("pytest", "pytest-xdist", "hypothesis")
"""What the aliasing tests need of the extra ``test``; minigrad itself comes from this folder."""

DEBIAN = "forky"  # the first release of Debian with Python 3.14
IDENTIFY = """import sys, sysconfig
print("{}.{}".format(*sys.version_info) + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")))"""
MODULES = "import sys, numpy, llvmlite, ml_dtypes, platformdirs, pytest, xdist, hypothesis"


@dataclass
class Line:
    """A line of the table. ``why``: why nothing ran, if nothing did."""

    version: str
    python: Path | None = None
    why: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.python is not None and bool(self.why or self.counts.get("failed") or self.counts.get("error"))

    def __str__(self) -> str:
        result = self.why or ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        result += f", without {', '.join(self.missing)}" if self.missing else ""
        return f"{self.version:8} {result}" + (f" in {self.seconds:.0f} s ({self.python})" if self.counts else "")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A finished process, its output as text; code 127 if there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing a failed process said."""
    return ((done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit code {done.returncode}"])[-1]


def this_version() -> str:
    """The version that runs this tool."""
    return "{}.{}".format(*sys.version_info) + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def candidates(version: str, cache: Path) -> Iterator[Path]:
    """Where the interpreter of a version may be: this one, PATH, pyenv's, uv's, Debian's in the cache."""
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield Path(folder, f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    number, free = version.rstrip("t"), "t" * version.endswith("t")
    yield from sorted(pyenv.glob(f"versions/{number}.*{free}/bin/python"), reverse=True)
    if shutil.which("uv"):
        found = run("uv", "python", "find", "--no-project", "--no-python-downloads", version)
        if found.returncode == 0:
            yield Path(found.stdout.strip())
    yield cache / f"debian-{version}" / "usr" / "bin" / f"python{version}"


def find(version: str, cache: Path) -> Path | None:
    """An interpreter of this version that starts."""
    for python in candidates(version, cache):
        if python.exists() and run(python, "-c", IDENTIFY).stdout.strip() == version:
            return python
    return None


def usable(python: Path) -> bool:
    """Whether the tests can run on it."""
    return run(python, "-c", MODULES).returncode == 0


def usable_python(version: str, cache: Path) -> Path | None:
    """An interpreter of this version on which the tests can run as it is; nothing is installed."""
    for python in (venv_python(version, cache), *candidates(version, cache)):
        if python.exists() and run(python, "-c", IDENTIFY).stdout.strip() == version and usable(python):
            return python
    return None


def install(version: str, cache: Path) -> str:
    """Get an interpreter from uv, or else from Debian. Returns why there is none, or an empty text."""
    said = []
    if shutil.which("uv"):
        done = run("uv", "python", "install", version)
        if done.returncode == 0:
            return ""
        said.append(f"uv: {last_line(done)}")
    if shutil.which("apt-get"):
        why = unpack_debian(version, cache)
        if not why:
            return ""
        said.append(f"Debian: {why}")
    return "; ".join(said) or "neither uv nor apt-get is here"


def unpack_debian(version: str, cache: Path) -> str:
    """Debian's interpreter with the libraries it needs, in a folder of its own: the system keeps its packages, and no
    root is needed. Returns why there is none, or an empty text."""
    apt, target = cache / "apt", cache / f"debian-{version}"
    for folder in ("state/lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()  # nothing counts as installed, so that every library comes along
    (apt / "sources.list").write_text("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
                                      f"http://deb.debian.org/debian {DEBIAN} main\n")
    (apt / "apt.conf").write_text(f'Dir::State "{apt}/state";\nDir::State::status "{apt}/status";\n'
                                  f'Dir::Cache "{apt}";\nDir::Etc::SourceList "{apt}/sources.list";\n'
                                  'Dir::Etc::SourceParts "/dev/null";\nDebug::NoLocking "true";\n')
    shutil.rmtree(target, ignore_errors=True)
    for package in (apt / "archives").glob("*.deb"):  # of another version
        package.unlink()
    for command in (["update"], ["install", "--download-only", "--yes", "--no-install-recommends",
                                 f"python{version}-venv", "libstdc++6"]):
        done = run("apt-get", *command, APT_CONFIG=str(apt / "apt.conf"))
        if done.returncode:
            return last_line(done)
    for package in (apt / "archives").glob("*.deb"):
        done = run("dpkg-deb", "-x", package, target)
        if done.returncode:
            return last_line(done)
    make_movable(target, version)
    return ""


def make_movable(target: Path, version: str) -> None:
    """Have an unpacked interpreter find its libraries and pip here instead of in the system's folders."""
    for file in target.glob(f"usr/lib/python{version}/_sysconfigdata*.py"):
        file.write_text(file.read_text().replace("'/usr/share/python-wheels", f"'{target}/usr/share/python-wheels"))
    program = target / "usr" / "bin" / f"python{version}"
    loader = next(target.glob("usr/lib*/ld-linux*.so.*"))
    libraries = next(target.glob("usr/lib/*-linux-gnu*"))
    program.rename(f"{program}.program")
    searched = f"{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
    program.write_text(f'#!/bin/sh\nexec "{loader}" --library-path "{searched}" --argv0 "$0" '
                       f'"{program}.program" "$@"\n')
    program.chmod(0o755)


def requirements(whole: bool = False) -> list[str]:
    """minigrad's dependencies, and what the aliasing tests need, or the ``whole`` extra ``test``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if not whole:
        return [*project["dependencies"], *(text for text in extras["test"] if name_of(text) in NEEDED)]
    named = [name for text in extras["test"] if name_of(text) == "minigrad" for name in text[9:-1].split(",")]
    return [*project["dependencies"], *(text for name in (*named, "test") for text in extras[name]
                                        if name_of(text) != "minigrad")]


def name_of(requirement: str) -> str:
    """``pytest`` of ``pytest>=8.2``."""
    return re.split(r"[<>=\[;]", requirement)[0]


def venv_python(version: str, cache: Path) -> Path:
    """The interpreter of a version's virtual environment, which may not be there yet."""
    return cache / f"venv-{version}" / "bin" / "python"


def prepare(line: Line, cache: Path, whole: bool = False) -> None:
    """Make the virtual environment, and install what the tests need. The line's ``why`` says what went wrong. Of what
    only the ``whole`` tests need, a package may be missing: its tests are skipped, and the line names it."""
    assert line.python is not None
    python, line.python = line.python, venv_python(line.version, cache)
    if run(line.python, "-m", "pip", "--version").returncode:
        done = run(python, "-m", "venv", "--clear", line.python.parents[1])
        if done.returncode:
            line.why = f"no virtual environment: {last_line(done)}"
            return
    pip = (line.python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:")
    done = run(*pip, *requirements(), PIP_DISABLE_PIP_VERSION_CHECK="1")
    if done.returncode:
        line.why = f"pip: {last_line(done)}"
    elif whole and run(*pip, *requirements(whole)).returncode:
        line.missing = [name_of(text) for text in requirements(whole) if run(*pip, text).returncode]


def test(line: Line, files: Sequence[str], workers: int) -> None:
    """Import minigrad with every warning an error, then run every case of the tests in these files; without files, the
    tests of README's command."""
    assert line.python is not None
    start, path = perf_counter(), {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = run(line.python, "-W", "error", "-c", "import minigrad; minigrad.ones(2).tolist()", **path)
    if done.returncode == 0 and line.version.endswith("t"):
        path["PYTHON_GIL"] = "0"  # whatever packages of the tests ask for
    if done.returncode == 0:
        which = ("--every-case", *files) if files else ()
        done = run(line.python, "-m", "pytest", "-n", str(workers), "-p", "no:cacheprovider", *which, **path)
        counted = re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout.rstrip().rpartition("\n")[2])
        line.counts = {kind: int(count) for count, kind in counted}
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        line.why = "" if line.failed else last_line(done)
    line.seconds = perf_counter() - start


def try_version(version: str, options: argparse.Namespace) -> Line:
    """All that is done for one version."""
    line = Line(version, find(version, options.cache))
    if line.python is None and options.install:
        line.why = install(version, options.cache)
        line.python = find(version, options.cache)
    if line.python is None:
        line.why = f"skipped: {line.why or 'not found; --install asks uv and Debian for it'}"
        return line
    prepare(line, options.cache, options.whole)
    if not line.why:
        test(line, () if options.whole else QUICK if options.quick else ALIASING, options.workers)
    return line


def main() -> None:
    """A line for each version, then their number."""
    parser = argparse.ArgumentParser("python tools/pythons.py", description=__doc__)
    versions = (*VERSIONS, *FREE_THREADED)
    parser.add_argument("versions", nargs="*", default=versions, help=f"({' '.join(versions)})")
    parser.add_argument("--install", action="store_true", help="get the interpreters that are not here")
    parser.add_argument("--others", action="store_true", help="not the version that runs this tool")
    parser.add_argument("--whole", action="store_true", help="all tests that README's command runs")
    parser.add_argument("--quick", action="store_true",
                        help="only the tests that `pytest -m slow` runs on every interpreter")
    parser.add_argument("--workers", type=int, default=2, help="test processes (2)")
    parser.add_argument("--cache", type=Path, default=user_cache_path("minigrad-pythons"),
                        help="where interpreters and virtual environments go (%(default)s)")
    options = parser.parse_args()
    lines = []
    own = this_version() if options.others else ""
    for version in [version for version in options.versions if version != own]:
        lines.append(try_version(version, options))
        print(lines[-1], flush=True)
    failed, skipped = sum(line.failed for line in lines), sum(line.python is None for line in lines)
    print(f"interpreters: {len(lines) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
