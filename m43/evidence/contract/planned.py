"""The checks of the plan: whether the run fits, with what would make it fit when it does not."""

from collections.abc import Iterator

from m43.errors import FailureClass
from m43.evidence.contract.check import Check
from m43.evidence.contract.checks import venv_checks
from m43.evidence.contract.model_checks import plan_model_check
from m43.records import Disk, PlanRecord, Profile, TrainingPlan, VenvRecord
from m43.text import size_words

# The same margin as in the contract's promise, which is what decides.
MARGIN = 1.15


def venv_gate_checks(
    venv: VenvRecord, plan: PlanRecord | None, profile: Profile
) -> tuple[Check, ...]:
    """List every check of the venv gate: of the environment, and of the plan if one was made."""
    return (*venv_checks(venv, profile), *(plan_checks(plan, profile) if plan is not None else ()))


def plan_checks(record: PlanRecord, profile: Profile) -> tuple[Check, ...]:
    """List every check of the plan; without a plan, why there is none."""
    return (
        Check(
            name="the training was planned",
            found=record.reason or _planned(record.training),
            expected="the real step, compiled from config.json",
            holds=not record.reason and record.training is not None,
            action="read the reason; what is wrong with the environment stands above",
            failure_class=record.failure_class or FailureClass.HARNESS_ERROR,
        ),
        *(_training_checks(record.training, profile) if record.training is not None else ()),
        _disk_check("the run folder", record.run),
        _disk_check("the Hugging Face cache", record.cache),
    )


def _planned(plan: TrainingPlan | None) -> str:
    if plan is None:
        return "nothing"
    step = plan.step
    return f"{plan.steps} steps of {step.rows} x {step.length} tokens at most"


def _training_checks(plan: TrainingPlan, profile: Profile) -> Iterator[Check]:
    yield plan_model_check(plan, profile.contract)
    yield from _memory_check(plan)


def _memory_check(plan: TrainingPlan) -> Iterator[Check]:
    yield Check(
        name=f"the training fits the memory of {plan.limits.device}",
        found=f"{size_words(plan.peak_bytes)} at its peak, "
        f"{size_words(round(MARGIN * plan.peak_bytes))} with the margin",
        expected=f"{size_words(plan.limits.memory_bytes)} at most, which is free",
        holds=0 < MARGIN * plan.peak_bytes <= plan.limits.memory_bytes,
        action=alternatives_words(plan),
        failure_class=FailureClass.PLAN_DOES_NOT_FIT,
    )


def alternatives_words(plan: TrainingPlan) -> str:
    """Name the settings that would fit, the cheapest first; each is a change of the profile."""
    if not plan.alternatives:
        return "free memory, or train on a larger device; no other setting was found that fits"
    ways = "; or ".join(
        f"{' with '.join(way.settings)} ({size_words(way.peak_bytes)})" for way in plan.alternatives
    )
    return f"free memory, or change the profile, which will be listed as a change: {ways}"


def _disk_check(what: str, disk: Disk) -> Check:
    return Check(
        name=f"the disk of {what} has room",
        found=f"{size_words(disk.free_bytes)} free",
        expected=f"{size_words(disk.needed_bytes)} or more",
        holds=disk.needed_bytes <= disk.free_bytes,
        action=f"free space on the disk that holds {disk.folder}",
        failure_class=FailureClass.PLAN_DOES_NOT_FIT,
    )
