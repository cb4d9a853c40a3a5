"""The part that does damage: a real lack of memory, a kill, a child that stands still."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from m43.errors import FailureClass
from m43.harness.card import look_at_card
from m43.harness.gates.job import ChildFailedError, run_job
from m43.harness.process import Sight
from m43.harness.run import HubAccess
from m43.records import (
    CardSample,
    Disk,
    DownloadRecord,
    PlanRecord,
    Profile,
    RunDir,
    profile_check,
    write_record,
)
from tests.benchmarks.bars import Line
from tools.card_check.report import Keep, Part
from tools.card_check.scale import Place

NAME = "damage"
_GIB = 2**30
# The phase of the training child in which it takes steps.
_STEPS = "train"
_NOWHERE = Disk(folder="", needed_bytes=0, free_bytes=0)
# The child looks for a plan before it reads weights; here it is to run into what it lacks.
_NO_PLAN = PlanRecord(
    reason="no plan: the damage is to be met",
    failure_class=None,
    training=None,
    config=None,
    config_bytes_moved=0,
    download_bytes=0,
    cache=_NOWHERE,
    run=_NOWHERE,
    duration_s=0.0,
)
# What a driver may keep of a context for a moment.
_KEPT_GIB, _SETTLE_S = 0.25, 2.0
# A child that is ended is asked for its stacks, and then to end. Source: m43/harness/process.
_ENDING_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of damage.

    Attributes:
        model: the folder that is trained.
        remat: whether layers are computed again.
        signal: what the child is sent at its first steps; 0 for nothing.
        expected: what the failure may be called; XLA may find out while it compiles, or later.
    """

    name: str
    model: Path
    remat: bool = True
    signal: int = 0
    expected: tuple[FailureClass, ...]


def cases(place: Place) -> tuple[Case, ...]:
    """List the damage that is done."""
    return (
        Case(
            name="a step that no card has memory for", model=place.swollen, remat=False,
            expected=(FailureClass.OUT_OF_DEVICE_MEMORY, FailureClass.OUT_OF_MEMORY_COMPILING),
        ),
        Case(
            name="a child that is killed", model=place.small, signal=signal.SIGKILL,
            expected=(FailureClass.KILLED,),
        ),
        Case(
            name="a child that stands still", model=place.small, signal=signal.SIGSTOP,
            expected=(FailureClass.HUNG,),
        ),
    )  # fmt: skip


def run(place: Place, limit_s: float, keep: Keep) -> Part:
    """Do all of it, one after the other, and look each time at the class and at the card."""
    began = time.monotonic()
    profile = profile_check.load(place.profile)
    found: list[Line] = []
    silence_s = place.scale.silence_s
    for case in cases(place):
        left_s = limit_s - (time.monotonic() - began) - _ENDING_S
        if left_s <= 0:
            break
        before = _memory_used()
        suffered = suffer(place, profile, case, left_s, silence_s)
        # The part's limit is the child's deadline: nothing was recognised, rightly or wrongly.
        if suffered.found is FailureClass.TIMED_OUT:
            break
        if case.signal:
            # As long as a child was silent that was well, and half of that again.
            silence_s = max(silence_s, 1.5 * suffered.silence_s)
        found += lines(case, suffered, before)
        keep(Part(name=NAME, ended="under way", lines=tuple(found)))
    else:
        return Part(name=NAME, ended="done", lines=tuple(found))
    reason = f"too little time was left for {case.name}"
    return Part(name=NAME, ended="cut off", reason=reason, lines=tuple(found))


@dataclass(frozen=True, kw_only=True)
class Suffered:
    """What a failure was called, if it was the one that was caused.

    Attributes:
        silence_s: the longest that the child gave no sign of life, until it was harmed.
    """

    found: FailureClass | None
    words: str
    took_s: float
    silence_s: float


def suffer(
    place: Place, profile: Profile, case: Case, limit_s: float, silence_s: float
) -> Suffered:
    """Train under the damage, as the training gate does.

    A child that is to be stopped counts as hung after `silence_s` without a sign of life.
    """
    run = RunDir(place.root / f"run-{case.expected[0].name.lower()}")
    run.path.mkdir()
    # Each child of a production run compiles every module anew; once for all of them will do here.
    compiled = place.root / "bytecode"
    compiled.mkdir(exist_ok=True)
    run.bytecode.symlink_to(compiled, target_is_directory=True)
    stopped = case.signal == signal.SIGSTOP
    silence_s = silence_s if stopped else limit_s
    deadlines = replace(profile.deadlines, train_s=limit_s, silence_s=silence_s)
    training = replace(profile.training, remat=case.remat)
    profile = replace(profile, deadlines=deadlines, training=training)
    write_record(run.profile, profile)
    write_record(run.plan, _NO_PLAN)
    write_record(run.download, _downloaded(case.model, profile))
    hub_access = HubAccess(environment=os.environ, endpoint="", cache_dir=None)
    began, harm = time.monotonic(), Harm(case)
    found, words = None, "no failure"
    try:
        run_job("train", run, hub_access, profile, place.repository, harm.see)
    except ChildFailedError as error:
        found, words = error.failure_class, str(error.failure_class)
        sys.stderr.write(f"{case.name}: {error}\n")
    finally:
        shutil.rmtree(run.path)
    if case.signal and not harm.sent and found is not FailureClass.TIMED_OUT:
        # A failure of another cause is not the one that was to be recognised.
        found, words = None, f"{words}, before the signal could be sent"
    took_s = time.monotonic() - began
    return Suffered(found=found, words=words, took_s=took_s, silence_s=harm.silence_s)


def _downloaded(folder: Path, profile: Profile) -> DownloadRecord:
    return DownloadRecord(
        folder=folder,
        cache=folder,
        revision=profile.contract.revision,
        files=(),
        transport="http",
        requests=0,
        bytes_moved=0,
        duration_s=0.0,
    )


class Harm:
    """Sends the signal of a case once, when the child takes steps."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._beat: int | None = None
        self._beat_s = 0.0
        self.sent = False
        self.silence_s = 0.0

    def see(self, sight: Sight) -> None:
        """Look at the child, as its parent does ten times a second."""
        if self.sent or sight.beat is None:
            return
        if sight.beat.beat != self._beat:
            self.silence_s = max(self.silence_s, sight.elapsed_s - self._beat_s)
            self._beat, self._beat_s = sight.beat.beat, sight.elapsed_s
        if self._case.signal and sight.beat.phase == _STEPS:
            os.kill(sight.pid, self._case.signal)
            self.sent = True


def _memory_used() -> int | None:
    card = look_at_card(os.environ)
    return card.memory_used_bytes if isinstance(card, CardSample) else None


def lines(case: Case, suffered: Suffered, before: int | None) -> Iterator[Line]:
    """Judge what a failure was called, and what the card still holds after it."""
    expected = " or ".join(case.expected)
    yield Line(
        text=f"{case.name}: called by its name",
        figure=float(suffered.found in case.expected),
        unit="",
        bar=1.0,
        direction="at least",
        basis=f"{suffered.words} after {suffered.took_s:.0f} s, expected {expected}",
    )
    if before is None:
        return
    time.sleep(_SETTLE_S)
    after = _memory_used()
    if after is None:
        return
    yield Line(
        text=f"{case.name}: memory of the card that is still taken",
        figure=(after - before) / _GIB,
        unit="GiB",
        bar=_KEPT_GIB,
        direction="at most",
        basis=f"{after / _GIB:.2f} after it, {before / _GIB:.2f} before",
    )
