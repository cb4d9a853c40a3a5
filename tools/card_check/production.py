"""The first part: a run of production's kind on this card, from a folder made here to a verdict."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from m43.errors import M43Error
from m43.evidence.journal import ledger
from m43.evidence.run import (
    LoadedRun,
    card_use,
    load_run,
    looks,
    performance,
    time_by_phase,
)
from m43.records import RunDir, profile_check
from m43.rehearsal import LoopbackHub, ServedRepository
from m43.text import duration_words, size_words
from tests.benchmarks.bars import Line
from tools.card_check import children
from tools.card_check.report import NOT_TOLD, Keep, Part, PartEnded
from tools.card_check.scale import Place

STAGE, NAME = "stage", "production"
_J_PER_WH, _LOOK_S, _CLOSING_S = 3600.0, 5.0, 12.0
# What follows it as if Python had been called with that, but for one thing: it is asked to end when
# this process is ended by a signal that leaves it no time. Source: prctl(2), PR_SET_PDEATHSIG.
_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
# Source: NVIDIA H100 Tensor Core GPU architecture whitepaper, and the H200's data sheet: dense
# bfloat16 products with float32 sums; both have the same multiprocessors.
_PEAK_FLOPS: Mapping[str, float] = {"NVIDIA H100": 989.4e12, "NVIDIA H200": 989.4e12}
_LOG = "pytest.log"


def stage(place: Place, limit_s: float, keep: Keep) -> Part:
    """Make what all parts work on."""
    told = children.run(place, "stage", limit_s=limit_s, home="cpu")
    made = [each for each in (place.base, place.small, place.swollen) if each.is_dir()]
    size = sum(path.stat().st_size for folder in made for path in folder.iterdir())
    words = (f"{len(made)} model folders, {size_words(size)}",)
    endings: dict[str, PartEnded] = {"well": "done", "badly": "failed"}
    ended = endings.get(told.ended, "cut off")
    return Part(name=STAGE, ended=ended, reason=told.reason, words=words)


def run(place: Place, limit_s: float, keep: Keep) -> Part:
    """Serve the folder, and have pytest hold the contract against the run."""
    began = time.monotonic()
    contract = profile_check.load(place.profile).contract
    repository = ServedRepository.from_folder(
        place.base, name=contract.repo, revision=contract.revision
    )
    served_s = time.monotonic() - began
    name = f"card-check-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    run_dir = RunDir(place.repository / ledger.RUNS / name)
    token = f"hf_{secrets.token_urlsafe(26)}"

    def look() -> None:
        # A run watches its checkout: a report that is written there meanwhile is a change of it.
        if place.out.resolve().is_relative_to(place.repository.resolve()):
            return
        # What a run that is being written looks like in between shall not end it.
        with contextlib.suppress(M43Error, OSError, ValueError):
            keep(judged(place, run_dir, "under way", served_s))

    with LoopbackHub(repository=repository, token=token, port=place.port):
        ended = _attempt(place, name, token, limit_s - served_s, look)
    for path in (run_dir.summary, run_dir.failure_analysis, run_dir.report, run_dir.gpu_metrics):
        if path.exists():
            shutil.copy(path, place.out)
    return judged(place, run_dir, ended, served_s)


def judged(place: Place, run_dir: RunDir, ended: PartEnded, served_s: float) -> Part:
    """Read the run back, however far it came."""
    words = [f"digested for the hub in {duration_words(served_s)}"]
    if not run_dir.path.is_dir():
        ended = ended if ended == "under way" else "failed"
        reason = f"pytest made no run: {children.end_of(place.root / _LOG)}"
        return Part(name=NAME, ended=ended, reason=reason, words=tuple(words))
    loaded = load_run(run_dir)
    reason = ""
    if ended == "cut off" and loaded.verdict.accepted:
        # It came to its end in the while that it had to close itself.
        ended = "done"
    elif ended == "cut off":
        reason = f"ended at its limit, in {_phase(loaded) or 'its first gate'}"
    elif ended == "done" and not loaded.verdict.accepted:
        ended, reason = "failed", "not accepted: " + "; ".join(loaded.verdict.reasons)
    lines = tuple(_lines(loaded))
    if place.scale_name == "dry":
        # Bars of a card; a toy on a processor neither reaches nor misses them.
        lines = tuple(replace(line, bar=None) for line in lines)
    return Part(
        name=NAME,
        ended=ended,
        reason=reason,
        lines=lines,
        words=(*words, *_words(loaded, ended)),
        found={
            "run": run_dir.path.name,
            "energy_j": _energy_j(loaded),
            "plan": loaded.plan,
            "train": None if loaded.train is None else loaded.train.phases,
            "evaluation": None if loaded.evaluation is None else loaded.evaluation.phases,
            "step_s": [step.duration_s for step in loaded.metrics],
            "losses_nats": [step.loss_nats for step in loaded.metrics],
        },
    )


def _attempt(
    place: Place, name: str, token: str, limit_s: float, look: Callable[[], None]
) -> Literal["done", "cut off"]:
    """Make the run as a person would, and end it at the limit."""
    hidden = ("HF_", "HUGGING_FACE_", "PYTEST_", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    environment = kept | {"HF_TOKEN": token, "HF_HOME": str(place.root / "hub")}
    options = ("-m", "production", "--m43-profile", str(place.profile), "--m43-run", name, "-q")
    with (place.root / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [str(place.judge), "-c", _WITH_PARENT, "-m", "pytest", "acceptance", *options],
            cwd=place.repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = children.wait_for(process, limit_s - _CLOSING_S, look, every_s=_LOOK_S)
        finally:
            # Asked to end, a run ends its child and writes why it failed.
            children.end_group(process, _CLOSING_S)
    sys.stderr.write(children.end_of(place.root / _LOG) + "\n")
    return "cut off" if status is None else "done"


def _phase(loaded: LoadedRun) -> str:
    """Say where the run was last."""
    for name, child in (("eval", loaded.eval_child), ("train", loaded.train_child)):
        if child.heartbeat is not None:
            return f"{name}: {child.heartbeat.phase}"
    return ""


def _energy_j(loaded: LoadedRun) -> dict[str, float]:
    """Add up the card's energy by the phases of the run's children."""
    spent: dict[str, float] = {}
    for child in ("train", "eval"):
        for one, other in pairwise(looks(loaded, child)):
            before, after = one.card.energy_mj, other.card.energy_mj
            if before is not None and after is not None:
                phase = f"{child}: {one.at.phase or 'before'}"
                spent[phase] = spent.get(phase, 0.0) + (after - before) / 1000
    return spent


def _lines(loaded: LoadedRun) -> Iterator[Line]:
    """Give the figures of a run; of one that was cut off those that it came to."""
    steps_s = sum(step.duration_s for step in loaded.metrics)
    plan = loaded.plan.training if loaded.plan else None
    if loaded.metrics and plan is not None:
        step_s = steps_s / len(loaded.metrics)
        yield Line(
            text="a step, measured / planned", figure=step_s / plan.sustained_s, unit="x",
            bar=None, direction="at most",
            basis=f"{step_s:.3f} s over {len(loaded.metrics)} steps / {plan.sustained_s:.3f} s",
        )  # fmt: skip
    if loaded.train is None or loaded.plan is None or plan is None:
        return
    done = performance(loaded.plan, loaded.train)
    if done is None:
        return
    planned, measured = done.planned_peak_bytes, done.measured_peak_bytes
    yield Line(
        text="peak memory, how far from the plan", figure=100 * abs(measured / planned - 1),
        unit="%", bar=10.0, direction="at most",
        basis=f"{size_words(measured)} measured, {size_words(planned)} planned",
    )  # fmt: skip
    card = plan.limits.device.partition(":")[2]
    peak = next((rate for name, rate in _PEAK_FLOPS.items() if card.startswith(name)), None)
    rate = done.model_flops / done.steps_s
    yield Line(
        text="MFU, the head counted", figure=100 * rate / (peak or plan.limits.flops_per_s),
        unit="%", bar=50.0, direction="at least",
        basis=f"{rate / 1e12:.3g} of {(peak or plan.limits.flops_per_s) / 1e12:.3g} TFLOP/s"
        f"{'' if peak else ', measured'}; {done.real_tokens_per_s:.0f} tokens/s; MaxText, 7B on "
        "an H100: 49.7 %",
    )  # fmt: skip
    use = card_use(loaded, "train")
    if use is not None and use.joules_per_token is not None:
        spent = use.joules_per_token * sum(step.real_tokens for step in loaded.metrics)
        power = "power not told" if use.mean_power_w is None else f"{use.mean_power_w:.0f} W"
        yield Line(
            text="energy of the steps", figure=spent / _J_PER_WH, unit="Wh", bar=None,
            direction="at most",
            basis=f"{use.joules_per_token:.3g} J a token, {power}, by {use.energy_from}",
        )  # fmt: skip


def _words(loaded: LoadedRun, ended: PartEnded) -> Iterator[str]:
    verdict = "" if ended == "under way" else loaded.verdict_words(loaded.verdict.accepted)
    yield f"{len(loaded.metrics)} steps{verdict and '; '}{verdict}"
    if loaded.train is not None and loaded.evaluation is not None:
        phases = time_by_phase(loaded.train, loaded.evaluation)
        told = ", ".join(f"{each.name} {duration_words(each.duration_s)}" for each in phases)
        yield f"time: {told}"
    elif loaded.train_child.heartbeat is not None:
        beat = loaded.train_child.heartbeat
        yield f"training was last in {beat.phase}, {beat.done} of {beat.total}"
    spent = ", ".join(
        f"{phase} {joules / _J_PER_WH:.2f} Wh" for phase, joules in _energy_j(loaded).items()
    )
    gaps = " and ".join(dict.fromkeys(each.gap for each in loaded.card if each.gap))
    why = gaps or ("" if loaded.card else "no card was watched")
    yield f"energy: {spent or NOT_TOLD}{f' ({why})' if why else ''}"
