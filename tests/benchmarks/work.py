"""The work that every contender is given: the same token ids, in the same order.

Standard library only: it is read in environments that hold no JAX.
"""

from dataclasses import dataclass, field

STEPS, ROWS_A_STEP = 12, 4


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One training row; the loss counts from the token at `completion` on."""

    tokens: tuple[int, ...]
    completion: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is learnt and what is answered.

    Attributes:
        rows: of all steps, ROWS_A_STEP of them a step.
        prompts: of the evaluation rows.
        stop_ids: each ends an answer.
        pad_id: stands where a row has ended.
    """

    rows: tuple[TokenRow, ...] = field(repr=False)
    prompts: tuple[tuple[int, ...], ...] = field(repr=False)
    stop_ids: tuple[int, ...]
    pad_id: int

    @property
    def steps(self) -> tuple[tuple[TokenRow, ...], ...]:
        """The rows of each step."""
        starts = range(0, len(self.rows), ROWS_A_STEP)
        return tuple(self.rows[start : start + ROWS_A_STEP] for start in starts)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(len(row.tokens) for row in self.rows)
