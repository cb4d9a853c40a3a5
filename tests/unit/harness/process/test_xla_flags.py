"""The flags for XLA: a child is given those that its jaxlib knows, and no others."""

import os
import sys
import venv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from m43.harness.process.process import Child, run_child
from m43.harness.process.xla_flags import XLA_FLAGS_ON_CPU, known_flags

HERE = Path(sys.executable)
UNKNOWN = "--xla_flag_of_no_version=1"
_TELLS = "import os; print(os.environ.get('XLA_FLAGS', 'none')); "


def flags(*given: str) -> Mapping[str, str]:
    """Give an environment that holds these flags."""
    return {"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(given)}


def child(folder: Path, code: str, *given: str) -> Child:
    """Describe a child that runs some code with flags in its environment."""
    command = (str(HERE), "-c", _TELLS + code)
    return Child(
        command=command, folder=folder, environment=flags(*given), log=folder / "log", deadline_s=60
    )


def test_the_flags_that_m43_sets_are_known_here() -> None:
    """In every environment of the matrix; a jaxlib without one goes without it."""
    card = "--xla_gpu_autotune_level=0"
    assert known_flags(HERE, flags(XLA_FLAGS_ON_CPU, card)) == (XLA_FLAGS_ON_CPU, card)


def test_an_unknown_flag_is_left_out_and_no_other(tmp_path: Path) -> None:
    """The child computes, and its record says with what; given the flag, it would be killed."""
    computes = "from jaxlib import xla_client; xla_client.CompileOptions()"
    outcome = run_child(child(tmp_path, computes, UNKNOWN, XLA_FLAGS_ON_CPU), lambda sight: None)

    assert outcome.record.exit_status == 0
    assert outcome.record.xla_flags == (XLA_FLAGS_ON_CPU,)
    assert outcome.stdout == (XLA_FLAGS_ON_CPU,)


def test_with_no_flag_left_the_variable_is_not_set(tmp_path: Path) -> None:
    """The record tells of none, neither the variable nor a flag."""
    outcome = run_child(child(tmp_path, "", UNKNOWN), lambda sight: None)

    assert (outcome.stdout, outcome.record.xla_flags) == (("none",), ())
    assert "XLA_FLAGS" not in outcome.record.variables


@pytest.mark.parametrize("program", ["exit 1", "kill -6 $$", "no program"])
def test_where_jaxlib_cannot_be_asked_there_is_no_flag(tmp_path: Path, program: str) -> None:
    """A broken environment is for the probe to tell, without a flag in its way."""
    interpreter = tmp_path / "python"
    interpreter.write_text(program if program == "no program" else f"#!/bin/sh\n{program}\n")
    interpreter.chmod(0o755)
    assert known_flags(interpreter, flags(XLA_FLAGS_ON_CPU)) == ()
    assert known_flags(tmp_path / "absent", flags(XLA_FLAGS_ON_CPU)) == ()


def test_a_child_without_flags_is_asked_nothing(tmp_path: Path) -> None:
    """The interpreter is started once: for the child itself."""
    count = tmp_path / "count"
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho >> {count}\n")
    interpreter.chmod(0o755)
    quiet = replace(child(tmp_path, ""), command=(str(interpreter),), environment={})
    run_child(quiet, lambda sight: None)
    assert count.read_text() == "\n"


def test_who_is_asked_runs_no_start_up_files(tmp_path: Path) -> None:
    """Neither a .pth nor a sitecustomize of the environment, nor one that PYTHONPATH leads to."""
    mark, elsewhere = tmp_path / "mark", tmp_path / "elsewhere"
    leaves_a_mark = f"open({str(mark)!r}, 'a').close()\n"
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    elsewhere.mkdir()
    for folder in (site, elsewhere):
        (folder / "sitecustomize.py").write_text(leaves_a_mark)
        (folder / "usercustomize.py").write_text(leaves_a_mark)
    (site / "first.pth").write_text(f"import os; {leaves_a_mark}")
    (site / "jaxlib").mkdir()
    (site / "jaxlib" / "__init__.py").write_text("")
    (site / "jaxlib" / "xla_client.py").write_text("CompileOptions = dict\n")
    interpreter, given = tmp_path / "env" / "bin" / "python", flags(XLA_FLAGS_ON_CPU)

    assert known_flags(interpreter, {**given, "PYTHONPATH": str(elsewhere)}) == (XLA_FLAGS_ON_CPU,)
    assert not mark.exists()
