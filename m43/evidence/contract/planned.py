"""The checks of the plan: whether the run fits, with what would make it fit when it does not."""

from dataclasses import replace

from m43.errors import FailureClass
from m43.evidence.contract.check import Check
from m43.evidence.contract.checks import venv_checks
from m43.evidence.contract.model_checks import plan_model_check
from m43.records import (
    MARGIN,
    CardMemory,
    Contract,
    Disk,
    PlanRecord,
    Profile,
    TrainingPlan,
    VenvRecord,
)
from m43.text import size_words

# Of NVML's compute modes, those in which a card may be refused to a program that asks for it.
EXCLUSIVE = ("exclusive process", "exclusive thread", "prohibited")


def venv_gate_checks(
    venv: VenvRecord, plan: PlanRecord | None, profile: Profile
) -> tuple[Check, ...]:
    """List every check of the venv gate: of the environment, and of the plan if one was made."""
    checks = venv_checks(venv, profile)
    if plan is None:
        return checks
    mode = plan.card_memory.compute_mode if plan.card_memory is not None else ""
    return (
        *(_by_mode(check, mode) if mode in EXCLUSIVE else check for check in checks),
        *plan_checks(plan, profile),
    )


def _by_mode(check: Check, mode: str) -> Check:
    """Name why a card is busy, where its compute mode says it."""
    if check.failure_class is not FailureClass.CARD_BUSY:
        return check
    found = f"{check.found} (compute mode: {mode})"
    return replace(check, found=found, failure_class=FailureClass.COMPUTE_MODE)


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
        *((_card_check(record, profile.contract),) if profile.contract.card else ()),
        *(
            (plan_model_check(record, profile.contract), _memory_check(record, record.training))
            if record.training is not None
            else ()
        ),
        _disk_check("the run folder", record.run),
        _disk_check("the Hugging Face cache", record.cache),
    )


def _planned(plan: TrainingPlan | None) -> str:
    if plan is None:
        return "nothing"
    step = plan.step
    return f"{plan.steps} steps of {step.rows} x {step.length} tokens at most"


def _card_check(record: PlanRecord, contract: Contract) -> Check:
    silence = record.card_memory.not_told if record.card_memory is not None else ""
    return Check(
        name="the card's driver knows it",
        found=record.card_by_driver or f"no name of a card{f' ({silence})' if silence else ''}",
        expected=f"{contract.card}, by the driver's own library (NVML)",
        holds=record.card_by_driver == contract.card,
        action="see that `nvidia-smi -L` names the card where pytest runs; a container needs the "
        "driver's utilities as well",
        failure_class=FailureClass.CARD_UNKNOWN,
    )


def _memory_check(record: PlanRecord, plan: TrainingPlan) -> Check:
    return Check(
        name=f"the training fits the memory of {plan.limits.device}",
        found=f"{size_words(plan.peak_bytes)} at its peak, "
        f"{size_words(plan.needed_bytes)} with the margin",
        expected=f"{size_words(plan.limits.memory_bytes)} at most, which is free"
        f"{card_memory_words(record.card_memory)}",
        holds=0 < MARGIN * plan.peak_bytes <= plan.limits.memory_bytes,
        action=alternatives_words(plan),
        failure_class=FailureClass.PLAN_DOES_NOT_FIT,
    )


def card_memory_words(memory: CardMemory | None) -> str:
    """Say what the driver told of the card's memory that day; nothing of a CPU."""
    if memory is None:
        return ""
    if memory.not_told:
        return f" (what is free on the card the driver did not tell: {memory.not_told})"
    told = f"{size_words(memory.free_bytes)} of {size_words(memory.total_bytes)}"
    return f" (the driver told {told} free, and JAX takes {memory.share:.1%})"


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
