"""Stage: tests of ``tools.fuzz.campaign`` and of what it counts. Next: ``test_overhead.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import minigrad
from tools.fuzz import __main__ as main
from tools.fuzz import campaign
from tools.fuzz.counts import Counts
from tools.fuzz.program import OutOfTime, Program, device_of, run, within
from tools.fuzz.swarm import Swarm

ROOT = Path(__file__).resolve().parents[3]


def test_a_stretch_is_what_no_line_of_the_file_has(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text('{"first": 100, "last": 899}\n{"first": 0, "la')  # the last line was not written to its end
    assert campaign.finished(state) == [{"first": 100, "last": 899}]
    assert campaign.finished(tmp_path / "none") == campaign.finished(None) == []
    assert list(campaign.stretches(0, 1200, campaign.finished(state))) == [(0, 100), (900, 300)]
    assert list(campaign.stretches(0, 9000, [])) == [(0, 4000), (4000, 4000), (8000, 1000)]
    assert list(campaign.stretches(100, 800, campaign.finished(state))) == []
    state.write_text('{"first": 0, "last": 9}\n{"first": 0, "last": 4, "devices": ["CC"]}\n')
    assert [record["last"] for record in campaign.finished(state)] == [9]
    assert [record["last"] for record in campaign.finished(state, ["CC"])] == [4]


def test_a_process_that_dies_is_the_failure_of_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        first, count = map(int, command[command.index("--stretch") + 1].split(":"))
        if "--alone" in command:
            assert (first, count) == (6, 1)
            return subprocess.CompletedProcess(command, alone, "", "")
        if first <= 6 < first + count:
            return subprocess.CompletedProcess(command, -11, "5\n6\n", "stack smashed")
        return subprocess.CompletedProcess(command, 0, json.dumps(Counts().record() | {"programs": count}), "")

    alone = 0
    monkeypatch.setattr(subprocess, "run", ends)
    found = list(campaign.campaign(iter([(5, 10)]), [], 2, 1e6, ["CC"]))
    assert [(r["first"], r["last"], r["programs"]) for r in found] == [(5, 6, 2), (7, 14, 8)]
    assert found[0]["failures"] == ["# seed 6, --device CC: signal 11 ended the process: stack smashed\n"]
    alone = -11  # it is the reference that dies
    found = list(campaign.campaign(iter([(5, 10)]), [], 2, 1e6, ["CC"]))
    assert [(r["last"], r["failures"], dict(r["drawn"]["known"])) for r in found] == [
        (6, [], {"refusals that nobody means": 1}), (14, [], {})]
    monkeypatch.setattr(subprocess, "run", lambda command, **options: subprocess.CompletedProcess(
        command, 1, "5\n", "NameError"))
    with pytest.raises(RuntimeError, match="NameError"):
        list(campaign.campaign(iter([(5, 10)]), [], 1, 1e6))


def test_a_program_runs_on_the_reference_alone(capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(main, "run", lambda program, library: ran.append(library))
    monkeypatch.setattr(sys, "argv", ["fuzz", "--alone", "--stretch", "3:2", "--reference", "numpy", "--length", "3"])
    assert main.main() == 0 and len(ran) == 2 and not capsys.readouterr().out


def test_what_cannot_be_compared_is_the_failure_of_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(program: Program, other: Any, library: Any) -> str | None:
        if "v1" in str(program):
            raise ValueError("it cannot be read")
        return None

    monkeypatch.setattr(main, "kind_of", unreadable)
    found = [failure for _, _, failure in main.search(range(6), 8, minigrad, minigrad)]
    assert len(found) == 6 and all(f.startswith(f"# seed {i}: ValueError: it cannot be read") for i, f in
                                   enumerate(found) if f) and any(found)


def test_a_failure_that_takes_too_long_to_tell_or_to_shorten_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        Tensor = minigrad.Tensor

        def __getattr__(self, name: str) -> Any:
            return (lambda *shape, dtype: minigrad.zeros(shape, dtype=dtype)) if name == "ones" else getattr(
                minigrad, name)

    for patience, shortest in ((0.0, False), (60.0, True)):
        monkeypatch.setattr(main, "PATIENCE", patience)
        (program, kind, text), = main.search([2], 12, minigrad, Wrong())
        assert kind == "" and text.startswith("# seed 2: v0: 0.0 at (0, 0), not 1.0")
        assert (text.count("L.") < str(program).count("L.")) is shortest
    monkeypatch.setattr(main, "PATIENCE", 0.0)
    assert [(kind, text) for _, kind, text in main.search(range(4), 4, minigrad, minigrad)] == [("", "")] * 4
    monkeypatch.setattr(main, "kind_of", lambda program, other, library: run(program, library) and "known")
    for patience, told in ((0.0, ""), (60.0, "known")):
        monkeypatch.setattr(main, "PATIENCE", patience)
        assert [kind for _, kind, _ in main.search([2], 12, minigrad, Wrong())] == [told]
    with pytest.raises(OutOfTime), within(0.0):
        run(Program(["v1 = 1"]), minigrad)
    assert run(Program(["v1 = 1"]), minigrad)[0] == {"v1": 1}


def test_programs_run_on_the_devices_that_are_named(tmp_path: Path) -> None:
    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "tools.fuzz", "--length", "4", "--reference", "numpy", *arguments],
                              cwd=ROOT, text=True, capture_output=True, check=False)

    done = ran("--device", "numpy,cpu", "--programs", "12", "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "state").read_text())
    drawn = record["drawn"]["settings"]
    assert record["devices"] == ["NUMPY", "CPU"] and drawn["DEVICE=NUMPY"] + drawn["DEVICE=CPU"] == 12
    assert "DEVICE=NUMPY" in done.stdout and "DEVICE=CPU" in done.stdout
    assert not any(alone["DEVICE"] == "CPU" for alone in map(device_of, range(20), [["NUMPY"]] * 20))
    refused = ran("--device", "NO_SUCH")
    assert refused.returncode == 2 and "Expected one of cpu, cc" in refused.stderr


def test_counts_are_added() -> None:
    one = Counts()
    program = Program(["v1 = L.sort(v0)", "v2 = L.no_such()"], ["order", "unary (refused)"], {"TIERS": 2})
    one.add(program, "known", "text")
    one.reached["simplify"] = {"zero": 0}  # type: ignore[assignment]
    both = Counts()
    for _ in range(2):
        both.merge(json.loads(json.dumps(one.record())))
    assert both.programs == 2 and both.failures == ["text"] * 2 and both.drawn["known"] == {"known": 2}
    assert both.drawn["statements"] == {"order": 2} and both.drawn["refused"] == {"unary": 2}
    assert both.drawn["settings"] == {"TIERS=2": 2, "run 1 times": 2} and both.reached == {"simplify": {"zero": 0}}
    assert both.last() == "2 programs: 2 of them fail, and 2 in a way that is known"


def test_a_program_uses_some_of_the_options_at_a_place() -> None:
    def here(rng: Swarm) -> set[str]:
        return {rng.choice(("a", "b", "c", "d", "e", "f", "g", "h")) for _ in range(200)}

    def there(rng: Swarm) -> set[str]:
        return {rng.choice(("a", "b", "c", "d", "e", "f", "g", "h")) for _ in range(200)}

    some = [here(Swarm(seed, 0.5)) for seed in range(20)]
    assert set().union(*some) == set("abcdefgh")
    assert sum(map(len, some)) < 6 * 20 and len({frozenset(options) for options in some}) > 10
    assert here(Swarm(1, 0.5)) == some[1] != there(Swarm(1, 0.5))
    assert here(Swarm(1, 1.0)) == set("abcdefgh")
    alone = Swarm(2, 0.1)
    assert {alone.choice(list(range(9))) for _ in range(500)} == set(range(9))  # a list is not a place's options


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    state = tmp_path / "state"

    def ran(programs: int) -> str:
        done = subprocess.run([sys.executable, "-m", "tools.fuzz", "--programs", str(programs), "--reference", "numpy",
                               "--length", "4", "--state", str(state), "--coverage"], cwd=ROOT, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "\n2 programs" in ran(2)
    assert "\n5 programs" in ran(5)
    text = ran(5)
    lines = [json.loads(line) for line in state.read_text().splitlines()]
    assert [(line["first"], line["last"]) for line in lines] == [(0, 1), (2, 4)]
    assert "\n5 programs" in text and "\nsimplify  " in text and "\ngradients  " in text and "never" in text
    assert sum(lines[0]["reached"]["simplify"].values()) + sum(lines[1]["reached"]["strategies"].values()) > 0
