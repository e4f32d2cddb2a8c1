"""Stage: tests of the command line. In: the names of commands. Out: what they print and how they end, also on a
machine where something is wrong.
Next: ``tests/unit/torch/test_runner.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad
from minigrad import config
from minigrad.commands import COMMANDS, cache, devices, doctor, terminal
from minigrad.commands.doctor import extras, self_test, settings, versions
from minigrad.runtime import cache as objects
from minigrad.runtime import device as registry
from minigrad.runtime.device import Device


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m minigrad`` with these arguments."""
    return subprocess.run([sys.executable, "-m", "minigrad", *arguments], capture_output=True, text=True, timeout=240,
                          env={**os.environ, **environment})


@pytest.fixture
def cache_dir(tmp_path: Path):
    with config.config(CACHE_DIR=str(tmp_path / "cache"), CACHE=1):
        yield tmp_path / "cache"


def test_help_names_every_command() -> None:
    shown = run()
    assert shown.returncode == 0 and all(f"  {name} " in shown.stdout for name in COMMANDS)
    assert run("help").stdout == run("--help").stdout == shown.stdout
    assert run("--version").stdout == f"minigrad {minigrad.__version__}\n"


def test_an_unknown_command_is_refused() -> None:
    refused = run("nonsense")
    assert refused.returncode == 2 and refused.stderr.endswith("unknown command nonsense\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    shown = run(name, "--help")
    assert shown.returncode == 0 and "usage: " in shown.stdout


def test_a_command_gets_its_arguments_and_gives_its_status(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, torch\nprint(torch.ones(2).tolist(), sys.argv[1:])\nsys.exit(7)\n")
    done = run("torch", str(script), "--size", "3")
    assert (done.stdout, done.returncode) == ("[1.0, 1.0] ['--size', '3']\n", 7)


class Broken(Device):
    name = "BROKEN"

    @classmethod
    def unavailable(cls) -> str | None:
        return "it has no plug; pip install plug"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registry, "BROKEN", registry._Entry(Broken, "a device without a plug"))


def test_devices_that_cannot_be_used_say_why(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert devices.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "✓ CPU " in lines[0] and "setting DEVICE" in lines[0]
    at = next(i for i, line in enumerate(lines) if "BROKEN" in line)
    assert lines[at].startswith("- ") and lines[at + 1].strip() == "it has no plug; pip install plug"


@pytest.mark.parametrize("name", ["BROKEN", "ELSEWHERE"])
def test_a_device_that_is_set_and_does_not_work_is_an_error(name: str, broken: None,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    with config.config(DEVICE=name):
        assert devices.main([]) == 1
    assert name in capsys.readouterr().out


def test_the_cache_is_shown_and_made_smaller(cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cache.main([]) == 0 and "holds    0 files" in capsys.readouterr().out
    for i in range(4):
        objects.store(f"{i}" * 64, bytes(600_000))
        os.utime(cache_dir / "objects" / (f"{i}" * 64), (1000 * i, 1000 * i))
    assert cache.main(["show"]) == 0
    assert "holds    4 files, 2.3 MiB; longest unused" in capsys.readouterr().out
    assert cache.main(["limit", "2"]) == 0 and "2 of 4 files removed" in capsys.readouterr().out
    assert objects.load("0" * 64) is objects.load("1" * 64) is None and objects.load("3" * 64) is not None
    assert cache.main(["clear"]) == 0 and "2 of 2 files removed" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["limit"], ["clear", "3"], ["limit", "-1"], ["empty"]])
def test_the_cache_command_refuses(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cache.main(arguments)


def test_a_folder_in_which_others_write_is_an_error(cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects.store("0" * 64, b"code")
    (cache_dir / "objects").chmod(0o777)
    assert cache.main(["clear"]) == 1 and "cannot be used" in capsys.readouterr().err
    assert [ok for ok, _ in doctor.folder()] == [False]


def test_entries_beyond_the_limit_go(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_is_due", lambda *_: True)
    with config.config(CACHE_LIMIT=1):
        for i in range(4):
            objects.store(f"{i}" * 64, bytes(400_000))
        assert sum(entry.size for entry in objects.contents()) < 1 << 20


def test_the_doctor_finds_this_machine_well(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "SELF_TEST_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "speed", lambda: iter([(None, "fast")]))
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "a network learned XOR" in printed and printed.endswith("All is well.\n")
    assert f"minigrad {minigrad.__version__}" in printed and "✓ llvmlite" in printed


def test_the_doctor_finds_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-package"))
    assert (False, "no-such-package is missing: pip install no-such-package") in list(versions())
    monkeypatch.setattr(doctor, "EXTRAS", {"opencl": "no.such.module", "vision": "no_such_module"})
    assert [line for ok, line in extras() if ok is None] == [
        "  opencl: pip install 'minigrad[opencl]'", "  vision: pip install 'minigrad[vision]'"]


def test_the_doctor_finds_a_device_that_computes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    case = minigrad.conformance.cases(1)[0]
    wrong = minigrad.conformance.Result(case, "failed", "7.0, not 8.0\nand more")
    monkeypatch.setattr(doctor, "check", lambda *_: iter([wrong]))
    monkeypatch.setattr(doctor, "_train", lambda: 0.5)
    assert [ok for ok, _ in self_test(1.0)] == [False, False, False]
    assert f"{case}: 7.0, not 8.0" in next(self_test(1.0))[1]


def test_the_doctor_names_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGRAD_TORCH_RNG", "1")
    assert any(line.startswith("MINIGRAD_TORCH_RNG=1: ") for _, line in settings())


def test_the_doctor_measures() -> None:
    assert all(rate > 0 for rate in (doctor.copy_bandwidth(2, 0.001), doctor.numpy_matmul_rate(0.001)))


@pytest.mark.parametrize(("terminal_there", "no_color", "colours"),
                         [(True, "", True), (False, "", False), (True, "1", False)])
def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, terminal_there: bool, no_color: str,
                                   colours: bool) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal_there)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.paint("x", "good") == ("\033[32mx\033[0m" if colours else "x")
    assert terminal.mark(None).endswith("-" if not colours else "-\033[0m")
