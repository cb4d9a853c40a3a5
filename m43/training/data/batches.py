"""Batches: which examples each step learns from, packed and decided before the first step."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from m43.core import Batch
from m43.errors import FailureClass, M43Error
from m43.training.data.examples import Example


def first_fit(lengths: Sequence[int], capacity: int) -> tuple[tuple[int, ...], ...]:
    """Assign every row, in order, to the first sequence that has room for it.

    Nothing is cut, and the same rows in the same order are packed alike everywhere.

    Args:
        lengths: of the rows; none is above the capacity.
        capacity: of a sequence.

    Returns:
        The rows of each sequence, by their place in `lengths`, in the order of putting.

    Source: Johnson 1974, Fast algorithms for bin packing (first fit takes at most 1.7 times as
    many as the best packing).

    Example:
        >>> first_fit([5, 6, 3, 2, 4], capacity=8)
        ((0, 2), (1, 3), (4,))
    """
    sequences: list[list[int]] = []
    room: list[int] = []
    # Sequences into which the shortest row no longer fits are not looked at again.
    open_: list[int] = []
    shortest = min(lengths, default=0)
    for row, length in enumerate(lengths):
        place = next((each for each in open_ if room[each] >= length), len(sequences))
        if place == len(sequences):
            sequences.append([])
            room.append(capacity)
            open_.append(place)
        sequences[place].append(row)
        room[place] -= length
        if room[place] < shortest:
            open_.remove(place)
    return tuple(tuple(rows) for rows in sequences)


# Matrix units want rows of 16 bytes: eight numbers of bfloat16.
LENGTH_MULTIPLE = 8
MOST_LENGTHS = 3
COMPILATION = 3 * 10**10
"""Positions times weights that a processor computes while it compiles the step for one length."""


class OutOfExamplesError(M43Error):
    """Fewer rows than the steps need; none is used more often than the contract allows."""

    failure_class = FailureClass.DATA_INVALID


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """The rows of one step, each with its examples by their place in the file.

    Attributes:
        rows: without packing each holds one example.
        length: that every row is padded to.
    """

    rows: tuple[tuple[int, ...], ...]
    length: int

    @property
    def examples(self) -> tuple[int, ...]:
        """All examples of the step."""
        return tuple(index for row in self.rows for index in row)

    @property
    def positions(self) -> int:
        """How many positions the step computes, padding included."""
        return len(self.rows) * self.length


def plan_batches(
    lengths: Sequence[int],
    *,
    steps: int,
    batch_rows: int,
    longest: int,
    packing: bool,
    seed: int,
    epochs: int = 1,
    compilation: int = 0,
) -> tuple[PlannedBatch, ...]:
    """Sample the batches of all steps, in each epoch without replacement.

    The order of an epoch is a permutation of the file's rows, fixed by the seed. Each batch is as
    long as its longest row needs, rounded up to one of few lengths.

    Args:
        lengths: tokens of each example of the file.
        steps: optimizer steps.
        batch_rows: rows of a step.
        longest: the length that no batch exceeds.
        packing: whether a row holds as many examples as fit, or one.
        seed: of the permutations.
        epochs: how often a row may be used.
        compilation: positions for which the step is not compiled for one more length.

    Raises:
        OutOfExamplesError: if the steps need more rows than there are.
    """
    generator, rows = np.random.default_rng(seed), list[tuple[int, ...]]()
    for _ in range(epochs):
        order = [int(index) for index in generator.permutation(len(lengths))]
        if packing:
            packed = first_fit([lengths[index] for index in order], longest)
            rows += [tuple(order[place] for place in row) for row in packed]
        else:
            rows += [(index,) for index in order]
        if len(rows) >= steps * batch_rows:
            break
    if len(rows) < steps * batch_rows:
        often = "none used twice" if epochs == 1 else f"in {epochs} epochs"
        found = len(lengths), len(rows)
        raise _out_of_examples(*found, steps, batch_rows, often, packing=packing)
    starts = range(0, steps * batch_rows, batch_rows)
    groups = [tuple(rows[start : start + batch_rows]) for start in starts]
    wanted = [max(sum(lengths[index] for index in row) for row in group) for group in groups]
    padded = _few_lengths(wanted, longest, compilation / batch_rows)
    pairs = zip(groups, padded, strict=True)
    return tuple(PlannedBatch(rows=group, length=length) for group, length in pairs)


def _out_of_examples(
    examples: int, rows: int, steps: int, batch_rows: int, often: str, *, packing: bool
) -> OutOfExamplesError:
    packed = f" packed into {rows}" if packing else ""
    fitting = rows // steps
    lower = f"lower training.batch_rows to {fitting}, or " if fitting else ""
    return OutOfExamplesError(
        found=f"{examples} rows{packed}, which give {rows // batch_rows} steps",
        expected=f"at least {steps * batch_rows} rows{' when packed' * packing} "
        f"({steps} steps of {batch_rows}, {often})",
        where="data.train",
        action=f"{lower}add rows; the number of steps is fixed by the contract",
    )


def assemble(plan: PlannedBatch, examples: Sequence[Example], pad_id: int) -> Batch:
    """Assemble the examples of a batch into rows, padded on the right.

    Every example is a segment of its own with positions from 0, and its first token is never
    supervised: so none sees another, and none predicts the next one's beginning.
    """
    shape = (len(plan.rows), plan.length)
    tokens = np.full(shape, pad_id, np.int32)
    segments, positions = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    supervised = np.zeros(shape, np.bool_)
    for row, indices in enumerate(plan.rows):
        start = 0
        for segment, index in enumerate(indices, start=1):
            example = examples[index]
            end = start + len(example.tokens)
            tokens[row, start:end] = example.tokens
            segments[row, start:end] = segment
            positions[row, start:end] = np.arange(end - start)
            supervised[row, start + example.completion : end] = True
            start = end
    return Batch(
        tokens=tokens,
        positions=positions,
        segments=segments,
        supervised=supervised,
    )


def _few_lengths(wanted: Sequence[int], longest: int, compilation: float) -> list[int]:
    """Round lengths up to those few that cost the least: by padding, and by compiling each."""
    rounded = [min(longest, -(-size // LENGTH_MULTIPLE) * LENGTH_MULTIPLE) for size in wanted]
    *shorter, last = sorted(set(rounded))
    up_to = {size: sum(each <= size for each in rounded) for size in (0, *shorter, last)}

    def cost(kept: tuple[int, ...]) -> float:
        positions = (size * (up_to[size] - up_to[below]) for below, size in pairwise((0, *kept)))
        return sum(positions) + compilation * len(kept)

    counts = range(min(MOST_LENGTHS - 1, len(shorter)), -1, -1)
    choices = ((*some, last) for count in counts for some in combinations(shorter, count))
    kept = min(choices, key=cost)
    return [next(size for size in kept if size >= need) for need in rounded]
