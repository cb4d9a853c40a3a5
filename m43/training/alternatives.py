"""The alternatives: settings with which a run that does not fit would, found by planning them."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from m43.plan_record import Alternative, TrainingPlan
from m43.profile import LoraTable, Profile

MOST = 3
# Where the line is, the contract says; looked for is what stays clear of it.
NEAR = 1.25
# Source: Hu et al. 2021, LoRA, table 6 (a rank of 16 is enough); alpha twice the rank.
_LORA = LoraTable(rank=16, alpha=32.0)


def is_near(plan: TrainingPlan) -> bool:
    """Tell whether a plan comes near to the memory, or over it."""
    return NEAR * plan.peak_bytes > plan.limits.memory_bytes


def find_alternatives(
    profile: Profile, plan: Callable[[Profile], TrainingPlan]
) -> tuple[Alternative, ...]:
    """Plan cheaper and cheaper runs until three of them fit.

    The order is that of the price: first what only takes time, then what changes the optimizer,
    then the method, and last what the model is shown.
    """
    found: list[Alternative] = []
    for candidate in _candidates(profile):
        planned = plan(candidate)
        if not is_near(planned):
            settings = settings_changed(profile, candidate)
            found.append(Alternative(settings=settings, peak_bytes=planned.peak_bytes))
        if len(found) == MOST:
            break
    return tuple(found)


def _candidates(profile: Profile) -> Iterator[Profile]:
    training = profile.training
    kept = replace(profile, training=replace(training, remat=True))
    if not training.remat:
        yield kept
    parts = training.batch_rows
    if training.accumulate < parts:
        yield _with(kept, accumulate=parts)
    if training.method == "full" and training.optimizer == "adamw":
        yield _with(kept, optimizer="adafactor")
    if training.method == "full":
        yield replace(_with(kept, method="lora", optimizer="adamw"), lora=_LORA)
        # As a last resort of the method: one row at a time.
        one_row = _with(kept, method="lora", optimizer="adamw", accumulate=parts)
        yield replace(one_row, lora=_LORA)
    if training.batch_rows > 1:
        yield _with(kept, batch_rows=1, accumulate=1)
    if training.sequence_tokens > 1:
        yield _with(kept, sequence_tokens=training.sequence_tokens // 2, accumulate=parts)


def _with(profile: Profile, **changes: object) -> Profile:
    return replace(profile, training=replace(profile.training, **changes))  # type: ignore[arg-type]


def settings_changed(profile: Profile, other: Profile) -> tuple[str, ...]:
    """Write the settings of another profile that differ, as the profile's file has them.

    Example:
        training.remat = true
    """
    lines = [
        f"training.{name} = {_toml(value)}"
        for name, value in vars(other.training).items()
        if value != getattr(profile.training, name)
    ]
    if other.lora is not None and profile.lora is None:
        lines.append(f"lora.rank = {other.lora.rank}, lora.alpha = {_toml(other.lora.alpha)}")
    return tuple(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
