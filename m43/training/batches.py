"""Batches: which examples each step learns from, decided before the first step."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax.numpy as jnp
import numpy as np

from m43.core.batch import Batch
from m43.errors import FailureClass, M43Error
from m43.training.examples import Example

# Every padded length is a compilation of the step, some seconds each; a multiple of 32 is also
# what matrix units like.
LENGTH_MULTIPLE = 32
MOST_LENGTHS = 3


class OutOfExamplesError(M43Error):
    """Fewer rows than the steps need; no row is ever used twice."""

    failure_class = FailureClass.DATA_INVALID


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """The examples of one step, by their place in the file, and the length of its rows."""

    examples: tuple[int, ...]
    length: int


def plan_batches(
    lengths: Sequence[int], *, steps: int, batch_rows: int, longest: int, seed: int
) -> tuple[PlannedBatch, ...]:
    """Draw the batches of all steps without putting any example back.

    The order is a permutation of the file's rows, fixed by the seed. Each batch is as long as
    its longest example needs, rounded up to one of few lengths.

    Args:
        lengths: tokens of each example of the file.
        steps: optimizer steps.
        batch_rows: examples of a step.
        longest: the length that no batch exceeds.
        seed: of the permutation.

    Raises:
        OutOfExamplesError: if the steps need more rows than there are.
    """
    needed = steps * batch_rows
    if len(lengths) < needed:
        raise OutOfExamplesError(
            found=f"{len(lengths)} rows",
            expected=f"at least {needed} ({steps} steps of {batch_rows} rows, none used twice)",
            where="data.train",
            action="add rows, or lower training.batch_rows; the number of steps is fixed by the "
            "contract",
        )
    order = np.random.default_rng(seed).permutation(len(lengths))[:needed]
    groups = order.reshape(steps, batch_rows)
    wanted = [max(lengths[index] for index in group) for group in groups]
    padded = _few_lengths(wanted, longest)
    return tuple(
        PlannedBatch(examples=tuple(int(index) for index in group), length=length)
        for group, length in zip(groups, padded, strict=True)
    )


def assemble(plan: PlannedBatch, examples: Sequence[Example], pad_id: int) -> Batch:
    """Lay the examples of a batch out as rows, padding on the right."""
    shape = (len(plan.examples), plan.length)
    tokens = np.full(shape, pad_id, np.int32)
    segments, positions = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    supervised = np.zeros(shape, np.bool_)
    for row, index in enumerate(plan.examples):
        example = examples[index]
        size = len(example.tokens)
        tokens[row, :size] = example.tokens
        segments[row, :size] = 1
        positions[row, :size] = np.arange(size)
        supervised[row, example.completion : size] = True
    return Batch(
        tokens=jnp.asarray(tokens),
        positions=jnp.asarray(positions),
        segments=jnp.asarray(segments),
        supervised=jnp.asarray(supervised),
    )


def _few_lengths(wanted: Sequence[int], longest: int) -> list[int]:
    """Round lengths up to a few, chosen so that little padding is added.

    While there are too many, the length whose rounding up to the next costs the fewest
    positions is given up.
    """
    rounded = [min(longest, -(-size // LENGTH_MULTIPLE) * LENGTH_MULTIPLE) for size in wanted]
    counts = Counter(rounded)
    while len(counts) > MOST_LENGTHS:
        sizes = sorted(counts)
        _, given_up, next_up = min(
            (counts[small] * (large - small), small, large) for small, large in pairwise(sizes)
        )
        counts[next_up] += counts.pop(given_up)
    kept = sorted(counts)
    return [next(size for size in kept if size >= need) for need in rounded]
