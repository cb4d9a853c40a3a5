"""A batch: rows of tokens, each row one example or several packed ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from m43.core.numerics import ArrayLike, register_pytree
from m43.errors import FailureClass, Problem, ProblemsError


class BatchError(ProblemsError):
    """A batch whose arrays contradict one another."""

    failure_class = FailureClass.DATA_INVALID


@register_pytree
@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step, or one of its accumulated parts, reads.

    Shapes: B rows, L tokens.

    Attributes:
        tokens: the ids, padding included.
        positions: of each token in its own example, from 0.
        segments: 0 is padding, 1, 2, ... are the examples packed into the row.
        supervised: true at t where the token at t is to be predicted. Its loss comes from the
            hidden state at t - 1, so the first token of an example is never supervised.

    Example:
        A prompt 2 7 with completion 9 1, then padding:
        tokens 2 7 9 1 0, positions 0 1 2 3 0, segments 1 1 1 1 0, supervised 0 0 1 1 0.
    """

    tokens: Int[ArrayLike, "B L"]
    positions: Int[ArrayLike, "B L"]
    segments: Int[ArrayLike, "B L"]
    supervised: Bool[ArrayLike, "B L"]


def check_batch(batch: Batch, *, vocab_size: int) -> None:
    """Validate on the host what a compiled step cannot: it would train on the wrong tokens.

    Raises:
        BatchError: with everything that is wrong.
    """
    problems = list(_problems(batch, vocab_size))
    if problems:
        raise BatchError(problems)


def _problems(batch: Batch, vocab_size: int) -> Iterator[Problem]:
    shapes = {
        name: np.shape(getattr(batch, name))
        for name in ("tokens", "positions", "segments", "supervised")
    }
    if len(set(shapes.values())) > 1 or len(shapes["tokens"]) != 2:
        yield Problem(
            found=str(shapes),
            expected="four arrays of one shape [B, L]",
            where="batch",
            action="pad every row to the same length",
        )
        return
    tokens, positions = np.asarray(batch.tokens), np.asarray(batch.positions)
    segments, supervised = np.asarray(batch.segments), np.asarray(batch.supervised)
    first = np.ones_like(supervised)
    first[:, 1:] = segments[:, 1:] != segments[:, :-1]
    follows = np.zeros_like(supervised)
    follows[:, 1:] = positions[:, 1:] == positions[:, :-1] + 1
    real = segments != 0
    rules = (
        ((tokens < 0) | (tokens >= vocab_size), f"token ids from 0 to {vocab_size - 1}"),
        (segments < 0, "segments of 0 (padding) or more"),
        (real & first & (positions != 0), "position 0 at the first token of a segment"),
        (real & ~first & ~follows, "positions that count up by 1 inside a segment"),
        (supervised & ~real, "no supervised padding"),
        (supervised & first, "the first token of a segment not supervised: nothing predicts it"),
    )
    for broken, expected in rules:
        if broken.any():
            row, column = np.argwhere(broken)[0]
            yield Problem(
                found=f"{int(broken.sum())} tokens that break it",
                expected=expected,
                where=f"batch row {row}, token {column} first",
                action="correct the packing or the tokenizer that made the batch",
            )
    if not supervised.any():
        yield Problem(
            found="no supervised token",
            expected="at least one, or the mean loss is 0/0",
            where="batch",
            action="leave examples without a completion out",
        )
