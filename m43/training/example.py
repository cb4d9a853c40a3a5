"""An example: one training row as tokens."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Example:
    """BOS, prompt, completion, terminator; what is learnt is the latter two.

    Attributes:
        completion: index of the first token that is learnt.
        prompt: as it stands in the row, as does the answer.
    """

    tokens: tuple[int, ...] = field(repr=False)
    completion: int
    prompt: str
    answer: str

    @property
    def supervised(self) -> tuple[int, ...]:
        """The tokens that are learnt."""
        return self.tokens[self.completion :]
