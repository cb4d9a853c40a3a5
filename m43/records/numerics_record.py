"""The numerics record: how near to float64 the device computes, before anything is trained.

Every error is relative, and -1 where it was not measured. A number that is not finite stands here
as the largest that a float64 holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class StepNumerics:
    """Optimizer steps of a small Gemma on the device, beside the same steps in float64."""

    family: str
    optimizer: str
    losses_nats: tuple[float, ...]  # of each step
    reference_losses_nats: tuple[float, ...]
    gradient_relative_error: float  # of the first gradient, for the weight where it is largest
    gradient_worst: str  # that weight
    update_relative_error: float  # of the first update along the gradient, in the same way
    update_worst: str

    @property
    def loss_relative_error(self) -> float:
        """The largest of all steps; -1 where the two cannot be compared."""
        found, exact = self.losses_nats, self.reference_losses_nats
        if len(found) != len(exact) or 0.0 in exact:
            return -1.0
        return _largest(abs(one / two - 1.0) for one, two in zip(found, exact, strict=True))


@dataclass(frozen=True, kw_only=True)
class NumericsRecord:
    """What the device computed wrongly, and by how much."""

    product_relative_error: float  # of bfloat16 matrices, the result in float32
    softmax_relative_error: float  # in float32
    operation_relative_error: float  # of operations that are compiled and run one by one
    operation_worst: str  # the one where that is largest
    steps: tuple[StepNumerics, ...] = field(repr=False)  # one for each family of Gemma
    duration_s: float  # compilation included

    @property
    def families(self) -> tuple[str, ...]:
        """The families of which small steps were taken."""
        return tuple(step.family for step in self.steps)

    @property
    def loss_relative_error(self) -> float:
        """The largest of all small steps; -1 where one is not known."""
        return _largest(step.loss_relative_error for step in self.steps)

    @property
    def gradient_relative_error(self) -> float:
        """The largest of all weights of all families; -1 where one is not known."""
        return _largest(step.gradient_relative_error for step in self.steps)

    @property
    def update_relative_error(self) -> float:
        """The largest of all weights of all families; -1 where one is not known."""
        return _largest(step.update_relative_error for step in self.steps)


def _largest(errors: Iterable[float]) -> float:
    known = tuple(errors)
    return max(known) if known and min(known) >= 0 else -1.0


NOT_MEASURED = NumericsRecord(
    product_relative_error=-1.0,
    softmax_relative_error=-1.0,
    operation_relative_error=-1.0,
    operation_worst="",
    steps=(),
    duration_s=0.0,
)
"""Of an environment in which nothing could be computed."""
