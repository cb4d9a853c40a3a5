"""The first part: a run of production's kind on this card, from a folder made here to a verdict."""

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Literal

from m43.errors import M43Error
from m43.evidence.journal import ledger
from m43.evidence.run import LoadedRun, load_run, performance, time_by_phase
from m43.harness.card import Card
from m43.records import Heartbeat, NoCard, RunDir, profile_check, read_record
from m43.rehearsal import LoopbackHub, ServedRepository
from m43.text import duration_words, size_words
from tests.benchmarks.bars import Line
from tools.card_check import children
from tools.card_check.report import NOT_TOLD, Part, PartEnded
from tools.card_check.scale import Place

STAGE, NAME = "stage", "production"
_J_PER_WH, _LOOK_S = 3600.0, 0.5
# Source: NVIDIA H100 Tensor Core GPU architecture whitepaper, and the H200's data sheet: dense
# bfloat16 products with float32 sums; both have the same multiprocessors.
_PEAK_FLOPS: Mapping[str, float] = {"NVIDIA H100": 989.4e12, "NVIDIA H200": 989.4e12}
_LOG = "pytest.log"


def stage(place: Place, limit_s: float) -> Part:
    """Make what all parts work on."""
    told = children.run(place, "stage", limit_s=limit_s, home="cpu")
    made = [each for each in (place.base, place.small, place.swollen) if each.is_dir()]
    size = sum(path.stat().st_size for folder in made for path in folder.iterdir())
    words = (f"{len(made)} model folders, {size_words(size)}",)
    endings: dict[str, PartEnded] = {"well": "done", "badly": "failed"}
    ended = endings.get(told.ended, "cut off")
    return Part(name=STAGE, ended=ended, reason=told.reason, words=words)


def run(place: Place, limit_s: float) -> Part:
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
    with LoopbackHub(repository=repository, token=token, port=place.port):
        watch = EnergyWatch(run_dir)
        ended = _attempt(place, name, token, limit_s - served_s)
        watch.close()
    return judged(place, run_dir, watch, ended, served_s)


def judged(
    place: Place, run_dir: RunDir, watch: "EnergyWatch", ended: PartEnded, served_s: float
) -> Part:
    """Read the run back, however far it came."""
    words = [f"digested for the hub in {duration_words(served_s)}"]
    if not run_dir.path.is_dir():
        reason = f"pytest made no run: {children.end_of(place.root / _LOG)}"
        return Part(name=NAME, ended="failed", reason=reason, words=tuple(words))
    loaded = load_run(run_dir)
    reason = ""
    if ended == "cut off":
        reason = f"ended at its limit, in {watch.phase or 'its first gate'}"
    elif not loaded.verdict.accepted:
        ended, reason = "failed", "not accepted: " + "; ".join(loaded.verdict.reasons)
    energy = {phase: joules for phase, joules in watch.energy_j.items() if joules}
    return Part(
        name=NAME,
        ended=ended,
        reason=reason,
        lines=tuple(_lines(loaded, watch)),
        words=(*words, *_words(loaded, watch)),
        found={
            "run": run_dir.path.name,
            "energy_j": energy,
            "plan": loaded.plan,
            "train": None if loaded.train is None else loaded.train.phases,
            "evaluation": None if loaded.evaluation is None else loaded.evaluation.phases,
            "step_s": [step.duration_s for step in loaded.metrics],
            "losses_nats": [step.loss_nats for step in loaded.metrics],
        },
    )


def _attempt(place: Place, name: str, token: str, limit_s: float) -> Literal["done", "cut off"]:
    """Make the run as a person would, and end it at the limit."""
    hidden = ("HF_", "HUGGING_FACE_", "PYTEST_", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    environment = kept | {"HF_TOKEN": token, "HF_HOME": str(place.root / "hub")}
    options = ("-m", "production", "--m43-profile", str(place.profile), "--m43-run", name, "-q")
    with (place.root / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [str(place.judge), "-m", "pytest", "acceptance", *options],
            cwd=place.repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(max(0.0, limit_s))
            ended: Literal["done", "cut off"] = "done"
        except subprocess.TimeoutExpired:
            ended = "cut off"
        finally:
            # Its children die with it.
            children.end_group(process)
    sys.stderr.write(children.end_of(place.root / _LOG) + "\n")
    return ended


class EnergyWatch:
    """Adds up the card's energy by the phases of the run's children, as their heartbeats tell."""

    def __init__(self, run: RunDir) -> None:
        """Begin to look."""
        self._run = run
        card = Card.open(os.environ)
        self.not_told = card.reason if isinstance(card, NoCard) else ""
        self._card = None if isinstance(card, NoCard) else card
        self._over = threading.Event()
        self.phase = ""
        self.energy_j: dict[str, float] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        before: int | None = None
        while True:
            counted = self._card.look().energy_mj if self._card else None
            if counted is not None and before is not None:
                spent = self.energy_j.get(self.phase, 0.0) + (counted - before) / 1000
                self.energy_j[self.phase] = spent
            before = counted
            self.phase = self._phase() or self.phase
            if self._over.wait(_LOOK_S):
                return

    def _phase(self) -> str:
        for child in ("eval", "train"):
            try:
                beat = read_record(self._run.heartbeat(child), Heartbeat)
            except M43Error:
                continue
            return f"{child}: {beat.phase}"
        return ""


def _lines(loaded: LoadedRun, watch: EnergyWatch) -> Iterator[Line]:
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
    spent = watch.energy_j.get("train: train")
    if spent:
        tokens = sum(step.real_tokens for step in loaded.metrics)
        yield Line(
            text="energy of the steps", figure=spent / _J_PER_WH, unit="Wh", bar=None,
            direction="at most",
            basis=f"{spent / tokens:.3g} J a token, {spent / done.steps_s:.0f} W",
        )  # fmt: skip


def _words(loaded: LoadedRun, watch: EnergyWatch) -> Iterator[str]:
    yield f"{len(loaded.metrics)} steps; {loaded.verdict_words(loaded.verdict.accepted)}"
    if loaded.train is not None and loaded.evaluation is not None:
        phases = time_by_phase(loaded.train, loaded.evaluation)
        told = ", ".join(f"{each.name} {duration_words(each.duration_s)}" for each in phases)
        yield f"time: {told}"
    elif loaded.train_child.heartbeat is not None:
        beat = loaded.train_child.heartbeat
        yield f"training was last in {beat.phase}, {beat.done} of {beat.total}"
    spent = ", ".join(
        f"{phase or 'before'} {joules / _J_PER_WH:.2f} Wh"
        for phase, joules in watch.energy_j.items()
        if joules
    )
    yield f"energy: {spent or f'{NOT_TOLD} ({watch.not_told})'}"
