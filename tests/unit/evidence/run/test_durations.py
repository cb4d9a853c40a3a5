"""The durations of a run add up to the time of its gates, and say what nothing accounts for."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.run.history import (
    NOT_RECORDED,
    PURPOSES,
    gate_seconds,
    stretches,
    told_entries,
    total_s,
)
from m43.evidence.run.loaded_run import load_run
from m43.records.run_dir import write_record
from m43.records.run_records import Phase
from tests.unit.evidence.good_records import train_record
from tests.unit.evidence.good_run import spent_s, stop_at, write_gate_files, write_good_run


def test_the_parts_of_a_gate_add_up_to_it(tmp_path: Path) -> None:
    """Download, phases and a named rest; nothing is lost and nothing is invented."""
    run = write_good_run(tmp_path)
    phases = tuple(Phase(name=name, duration_s=0.1) for name in ("import", "compile 64", "train"))
    write_record(run.train, train_record(phases=phases))
    loaded_run = load_run(run)

    parts = [part for part in stretches(loaded_run) if part.gate == "train-300"]

    assert [(part.name, part.purpose) for part in parts] == [
        ("download", "download"),
        ("import", "set-up"),
        ("compile 64", "compiling"),
        ("train", "training steps"),
        ("start and end of the process", "set-up"),
    ]
    whole = gate_seconds(loaded_run, "train-300")
    assert whole is not None
    assert sum(part.duration_s for part in parts) == pytest.approx(whole)
    # The clock of a good run ticks by entry, and goes on while a gate measures.
    assert total_s(loaded_run) == pytest.approx(len(told_entries(loaded_run)) - 1 + spent_s(run))


def test_a_child_that_failed_is_not_called_set_up(tmp_path: Path) -> None:
    """Its phases are in no record, and that is what is said."""
    run = stop_at(
        tmp_path,
        "train-300",
        lambda run: (write_gate_files(run, "train-300"), run.train.unlink())[1],
        failure_class="killed",
    )
    loaded_run = load_run(run)

    last = [part for part in stretches(loaded_run) if part.gate == "train-300"][-1]

    assert (last.name, last.purpose) == (NOT_RECORDED, NOT_RECORDED)


def test_every_purpose_is_in_the_list(tmp_path: Path) -> None:
    """A part whose purpose the report does not know would be left out of its sum."""
    parts = stretches(load_run(write_good_run(tmp_path)))

    assert {part.purpose for part in parts} <= set(PURPOSES)
    assert replace(parts[0], gate="train-300", name="anything").purpose == "set-up"
