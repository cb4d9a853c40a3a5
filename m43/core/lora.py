"""LoRA: which projections of a model get an adapter, and of which size."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flax import nnx

from m43.core.gemma import Gemma
from m43.core.linear import Adapter, Projection
from m43.errors import FailureClass, Problem, ProblemsError


class LoraSettingsError(ProblemsError):
    """Adapters that no model can have."""

    failure_class = FailureClass.PROFILE_INVALID


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """What adapters there are.

    Attributes:
        rank: R, the width of every adapter.
        alpha: the change is scaled by alpha / rank.
        targets: names of projections of a layer, such as query and gate.

    Raises:
        LoraSettingsError: with everything that is out of range.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise LoraSettingsError(problems)

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return self.alpha / self.rank


def _problems(settings: LoraSettings) -> Iterator[Problem]:
    targets = settings.targets
    rules = (
        ("rank", settings.rank >= 1, "at least 1"),
        ("alpha", 0 < settings.alpha < math.inf, "more than 0"),
        ("targets", 0 < len(targets) == len(set(targets)), "at least one, and none twice"),
    )
    for field, kept, expected in rules:
        if not kept:
            yield Problem(
                found=repr(getattr(settings, field)),
                expected=expected,
                where=f"lora.{field}",
                action="correct the lora table of the profile",
            )


def projections(model: Gemma) -> Mapping[str, Projection]:
    """Name the projections that every layer has; each holds the stack of all layers.

    Example:
        query, key, value, output, gate, up and down in a Gemma.
    """
    parts = (model.layers.attention, model.layers.feed_forward)
    return {
        name: value
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, Projection)
    }


def add_adapters(model: Gemma, settings: LoraSettings, *, seed: int) -> None:
    """Put an adapter beside every targeted projection of a model; its answers stay the same.

    Raises:
        LoraSettingsError: if the model has no projection of that name.
    """
    found = projections(model)
    unknown = [name for name in settings.targets if name not in found]
    if unknown:
        problem = Problem(
            found=", ".join(unknown),
            expected=f"some of {', '.join(found)}",
            where="lora.targets",
            action="correct the lora table of the profile",
        )
        raise LoraSettingsError((problem,))
    rngs = nnx.Rngs(params=seed)
    # Sorted, so that neither the order of the targets nor of the model changes an adapter.
    for name in sorted(settings.targets):
        shape = found[name].weight.shape
        found[name].adapter = Adapter(shape, rank=settings.rank, scale=settings.scale, rngs=rngs)
