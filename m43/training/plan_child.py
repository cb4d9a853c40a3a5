"""The plan child: answers a request with one line of JSON, and a better one if it finds it."""

import importlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import jax
from jaxtyping import PyTree

from m43 import typed_json
from m43.plan_record import PlanRequest, TrainingPlan
from m43.profile import Profile
from m43.rows import RowsError, read_rows
from m43.run_dir import read_record
from m43.training import failure
from m43.training.alternatives import find_alternatives, is_near
from m43.training.child import CRASHED, FINISHED, STOPPED
from m43.training.device import give_back_memory
from m43.training.limits import measure_limits
from m43.training.loaded_rows import load_fields
from m43.training.model_config import declared_dtype, read_model_config
from m43.training.own_memory import held_bytes
from m43.training.plan import Planned, count_rows, make_plan
from m43.training.target import read_target
from m43.training.topology import place_on

# What the training child imports beside what this one needs: its memory counts.
_TRAINING_IMPORTS = ("m43.training.train", "datasets", "transformers")

Rows = tuple[Mapping[str, object], ...]


def answer(path: Path, out: TextIO) -> int:
    """Plan what a request asks for; print a `TrainingPlan`, or a `ChildError` that says why not."""
    try:
        _answer(read_record(path, PlanRequest), out)
    except Exception as error:  # noqa: BLE001 (whatever it was, its record must be left)
        out.write(typed_json.dump_line(failure.describe(error, 0)))
        return STOPPED if failure.is_foreseen(error) else CRASHED
    return FINISHED


def _answer(request: PlanRequest, out: TextIO) -> None:
    folder = request.config_folder
    config, stored = read_model_config(folder), declared_dtype(folder)
    target = read_target(request.target) if request.target else None
    place = _stays if target is None else place_on(target)
    limits = measure_limits() if target is None else target.limits
    on_host = target is None and jax.devices()[0].platform == "cpu"
    # As in the training, they stay in memory while the step is compiled.
    rows = hold_rows(request.profile) if on_host else ()
    give_back_memory()
    process_bytes = held_bytes() if on_host else 0

    def plan(profile: Profile) -> TrainingPlan:
        return make_plan(
            Planned(
                profile=profile,
                config=config,
                stored=stored,
                limits=limits,
                place=place,
                process_bytes=process_bytes,
            )
        )

    found = plan(request.profile)
    # At once: should the search take too long, this stands.
    out.write(typed_json.dump_line(found))
    out.flush()
    if is_near(found):
        alternatives = find_alternatives(request.profile, plan)
        out.write(typed_json.dump_line(replace(found, alternatives=alternatives)))
    del rows


def _stays(arguments: PyTree) -> PyTree:
    return arguments


def hold_rows(profile: Profile) -> Rows:
    """Import what training imports and hold the rows as it does, as long as the result lives.

    Before a tokenizer is there; tokens are next to nothing. A file that training will refuse it
    refuses before it takes memory for it.
    """
    for name in _TRAINING_IMPORTS:
        importlib.import_module(name)
    rows: list[Mapping[str, object]] = []
    for path in (profile.data.train, profile.data.evaluation):
        if path.is_file() and count_rows(path) and _is_sound(path):
            with tempfile.TemporaryDirectory(prefix="m43-rows-") as scratch:
                rows += load_fields(path, Path(scratch))
    return tuple(rows)


def _is_sound(path: Path) -> bool:
    try:
        return not read_rows(path).problems
    except RowsError:
        return False
