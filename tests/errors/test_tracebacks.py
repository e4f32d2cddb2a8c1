"""Stage: tests of errors. In: ordinary mistakes that end a program. Out: a traceback of the program's own lines; and
the whole one for bugs, for debuggers and for who asks for it.
Next: ``test_planted_faults.py``."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import minigrad
from minigrad import nn
from minigrad.errors import VerifyError
from minigrad.graph import tracebacks

ROOT = Path(__file__).resolve().parents[2]


def backward_twice() -> None:
    loss = minigrad.ones(3, requires_grad=True).exp().sum()
    loss.backward()
    loss.backward()


def in_a_model() -> None:
    nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 3))(minigrad.ones(2, 6))


MISTAKES: dict[str, Callable[[], object]] = {
    "shapes": lambda: minigrad.ones(3, 4) @ minigrad.ones(5, 6),
    "shapes in a model": in_a_model,
    "a dtype": lambda: nn.Embedding(11, 4)(minigrad.ones(3)),
    "an index": lambda: minigrad.ones(3)[minigrad.tensor([1, 9]) + 0].tolist(),
    "cat": lambda: minigrad.cat([minigrad.ones(2, 3), minigrad.ones(3, 2)]),
    "backward twice": backward_twice,
    "an argument": lambda: minigrad.ones(3).index_select(0, [1]),  # type: ignore[arg-type]
}


def raised(mistake: Callable[[], object]) -> Exception:
    try:
        mistake()
    except Exception as error:
        return error
    raise AssertionError("it is no mistake")


def printed(error: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    tracebacks.show(type(error), error, error.__traceback__)
    return capsys.readouterr().err


@pytest.mark.parametrize("name", MISTAKES)
def test_an_ordinary_mistake_shows_the_programs_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(MISTAKES[name])
    whole = traceback.format_exception(error)
    text = printed(error, capsys)
    assert text.startswith("Traceback (most recent call last):\n") and str(error) in text
    files = [line for line in text.splitlines() if line.startswith("  File ")]
    assert 2 <= len(files) <= 3 and all(f'File "{__file__}"' in line for line in files)
    hidden = sum(f'File "{ROOT / "minigrad"}' in part for part in whole)
    calls = f"({hidden} call{'s' * (hidden > 1)} inside minigrad not shown; MINIGRAD_TRACEBACK=1 shows all)\n"
    assert text.endswith(calls)
    assert hidden and traceback.format_exception(error) == whole  # the error itself is as it was


@pytest.mark.parametrize("setting", ["TRACEBACK", "DEBUG"])
def test_settings_show_all(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(MISTAKES["cat"])
    with minigrad.config(**{setting: 1}):
        text = printed(error, capsys)
    assert "joining.py" in text and "not shown" not in text



def test_what_is_no_mistake_of_the_program_shows_all(monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """What minigrad did not raise itself, or raised about itself; and what the program's own code raised."""
    def refuse(*_: object) -> None:
        raise VerifyError("a bug")

    class Net(nn.Module):
        def forward(self, x: object) -> object:
            return 1 / 0  # type: ignore[misc]

    assert "module.py" in printed(raised(lambda: Net()(1)), capsys)
    assert "arguments.py" in printed(raised(lambda: minigrad.ones(3).sum(dimm=1)), capsys)  # type: ignore[call-overload]
    assert tracebacks.shortened(raised(refuse), None) is None
    error = raised(MISTAKES["cat"])
    as_a_bug = VerifyError("a bug").with_traceback(error.__traceback__)
    assert "joining.py" in printed(as_a_bug, capsys)


def test_whatever_goes_wrong_the_error_is_shown(monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tracebacks, "shortened", lambda *_: 1 / 0)
    assert "Sizes of tensors must match" in printed(raised(MISTAKES["cat"]), capsys)


def run(program: str, **environment: str) -> str:
    """What a program prints on its standard error."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment}).stderr


def test_of_a_program() -> None:
    program = "import minigrad\nminigrad.ones(3).view(2, 2)"
    lines = run(program).splitlines()  # later Pythons show the text of the line, too
    assert (lines[1], lines[-2]) == (
        '  File "<string>", line 2, in <module>', "RuntimeError: shape '[2, 2]' is invalid for input of size 3")
    assert not any("minigrad/tensor/" in line for line in lines)
    assert 'minigrad/tensor/' in run(program, MINIGRAD_TRACEBACK="1")


def test_a_hook_that_is_there_stays() -> None:
    """That of a debugger, say, or of a library that reports errors."""
    assert run("import sys\nsys.excepthook = lambda kind, error, trace: print('mine', file=sys.stderr)\n"
               "import minigrad\nminigrad.ones(3).view(2, 2)") == "mine\n"
