"""The plan child: answers a request with one line of JSON, and a better one if it finds it."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import jax
from jaxtyping import PyTree

from m43 import typed_json
from m43.plan_record import PlanRequest, TrainingPlan
from m43.profile import Profile
from m43.run_dir import read_record
from m43.training import failure
from m43.training.alternatives import find_alternatives, is_near
from m43.training.child import CRASHED, FINISHED, STOPPED
from m43.training.device import peak_host_bytes
from m43.training.limits import measure_limits
from m43.training.model_config import declared_dtype, read_model_config
from m43.training.plan import Planned, make_plan
from m43.training.target import Target, read_target
from m43.training.topology import place_on

# What the training child imports beside what this one needs: its memory counts.
_TRAINING_IMPORTS = ("m43.training.train", "datasets", "transformers")
# Beside what is measured here: the rows, further lengths' compilations, and that glibc is told to
# ask for 64 MiB more than it needs whenever it grows one of its heaps.
# Source: measured on the toy Gemma, whose arrays are next to nothing.
_MORE_BYTES = 128 << 20


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
    memory = _process_bytes(target)

    def plan(profile: Profile) -> TrainingPlan:
        return make_plan(
            Planned(
                profile=profile,
                config=config,
                stored=stored,
                limits=limits,
                place=place,
                process_bytes=memory,
            )
        )

    found = plan(request.profile)
    # At once: should the search take too long, this stands.
    out.write(typed_json.dump_line(found))
    out.flush()
    if is_near(found):
        alternatives = find_alternatives(request.profile, plan)
        out.write(typed_json.dump_line(replace(found, alternatives=alternatives)))


def _stays(arguments: PyTree) -> PyTree:
    return arguments


def _process_bytes(target: Target | None) -> Callable[[], int]:
    """Give what tells the memory of the process itself, which on a card lies elsewhere."""
    if target is not None or jax.devices()[0].platform != "cpu":
        return lambda: 0
    for name in _TRAINING_IMPORTS:
        importlib.import_module(name)
    known: list[int] = []

    def measure() -> int:
        # Measured after the first compilation; those of the alternatives are not the run's.
        if not known:
            known.append(peak_host_bytes() + _MORE_BYTES)
        return known[0]

    return measure
