"""Stage: tests of settings. In: environment variables. Out: values, or an error that names the variable and what it may
be. Next: ``test_devices.py``."""

import os
import subprocess
import sys
import threading

import pytest

import minigrad
from minigrad import config
from minigrad.config import SETTINGS


@pytest.mark.parametrize(("name", "text", "value"), [
    ("DEBUG", "true", 1), ("DEBUG", " 4 ", 4), ("DEBUG", "Off", 0), ("VERIFY", "False", 0), ("VERIFY", "yes", 1),
    ("THREADS", "auto", 0), ("THREADS", "3", 3), ("CACHE", "ON", 1), ("TIERS", "2", 2), ("OPENCL_FORM", "GPU", "gpu"),
    ("CACHE_DIR", " a folder", " a folder"), ("DEBUG", "", 0)])
def test_words_and_numbers(monkeypatch, name, text, value):
    monkeypatch.setenv(f"MINIGRAD_{name}", text)
    assert config.get(name) == value


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("DEBUG", "loud", "a number from 0 to 7, or one of false, no, off, true, yes, on"),
    ("DEBUG", "99", "a number from 0 to 7"),
    ("VERIFY", "2", "a number from 0 to 1, or one of false"), ("TIERS", "3", "a number from 0 to 2"),
    ("THREADS", "true", "a number from 0, or one of auto"), ("THREADS", "-1", "a number from 0"),
    ("THREADS", "1.5", "a number from 0"), ("OPENCL_FORM", "tpu", "cpu or gpu")])
def test_anything_else_is_an_error_that_says_what_fits(monkeypatch, name, text, expected):
    monkeypatch.setenv(f"MINIGRAD_{name}", text)
    with pytest.raises(ValueError, match=f"environment variable MINIGRAD_{name}='{text}': expected {expected}"):
        config.get(name)


def test_a_setting_that_another_thread_changes_for_a_while():
    def change():
        for _ in range(20_000):
            with config.config(DEBUG=0):
                pass

    changing = threading.Thread(target=change)
    changing.start()
    while changing.is_alive():
        assert config.get("DEBUG") == 0
    changing.join()


def test_it_is_said_at_the_import():
    done = subprocess.run([sys.executable, "-c", "import minigrad"], env={**os.environ, "DEBUG": "loud"},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith(
        "ValueError: environment variable DEBUG='loud': expected a number from 0")


def test_a_variable_that_is_read_by_nobody_is_warned_of(monkeypatch):
    monkeypatch.setenv("MINIGRAD_DEBG", "2")
    with pytest.warns(UserWarning, match=r"minigrad reads no environment variable MINIGRAD_DEBG; did you mean "
                                         r"MINIGRAD_DEBUG\?"):
        config.check_environment()
    monkeypatch.delenv("MINIGRAD_DEBG")
    monkeypatch.setenv("MINIGRAD_XYZ", "2")
    with pytest.warns(UserWarning, match="minigrad reads no environment variable MINIGRAD_XYZ$"):
        config.check_environment()


def test_a_device_that_nobody_knows_is_said_to_come_from_the_setting(monkeypatch):
    monkeypatch.setenv("DEVICE", "moon")
    with pytest.raises(RuntimeError, match="device string: moon, which the setting DEVICE asks for"):
        minigrad.ones(1)


def test_the_name_with_the_prefix_comes_first(monkeypatch):
    monkeypatch.setenv("THREADS", "2")
    assert config.get("THREADS") == 2
    monkeypatch.setenv("MINIGRAD_THREADS", "1")
    assert config.get("THREADS") == 1


@pytest.mark.parametrize("name", [s.name for s in SETTINGS.values() if not s.short])
def test_variables_of_other_programs_are_not_ours(monkeypatch, name):
    """``CC`` and ``CFLAGS`` among them: another compiler's flags would change results."""
    monkeypatch.delenv(f"MINIGRAD_{name}", raising=False)
    monkeypatch.setenv(name, "1")
    assert config.get(name) == SETTINGS[name].default


def test_the_environment_does_not_change_the_c_compilers_flags(python, tmp_path):
    source = """
import minigrad
x = minigrad.tensor([1e8, 1.0, -1e8], device="CC")
print((x - x).isnan().sum().item(), (x / 0).isinf().all().item())
"""
    assert python(source, CFLAGS="-ffast-math", MINIGRAD_CACHE_DIR=str(tmp_path)) == "0 True\n"


@pytest.mark.parametrize(("settings", "words"), [
    ({"TIERS": 3}, "setting TIERS=3: expected a number from 0 to 2"), ({"OPENCL_FORM": "tpu"}, "expected cpu or gpu"),
    ({"THREADS": -1}, "setting THREADS=-1: expected a number from 0")])
def test_a_block_takes_what_a_variable_takes(settings, words):
    before = {name: config.get(name) for name in settings}
    with pytest.raises(ValueError, match=words), config.config(**settings):
        pass
    assert {name: config.get(name) for name in settings} == before
