"""A solver: the form of a question, and its answer worked out from the words of the question."""

import re
from collections.abc import Callable
from dataclasses import dataclass

# Who asks, and how; none of it changes the answer.
ASKED = r"(?:Tell (?:me|[A-Z][a-z]+)|[A-Z][a-z]+ wants to know) "


@dataclass(frozen=True, kw_only=True)
class Solver:
    """One form of question; `answer` gets the parts of the prompt that the form names."""

    form: re.Pattern[str]
    answer: Callable[..., str]

    def solve(self, prompt: str) -> str | None:
        """Answer the prompt, or nothing if it has another form."""
        found = self.form.fullmatch(prompt)
        return self.answer(**found.groupdict()) if found else None


def asked(question: str, answer: Callable[..., str]) -> Solver:
    """Make the solver of a question that somebody puts to somebody."""
    return Solver(form=re.compile(f"{ASKED}{question}\\."), answer=answer)


def form(question: str, answer: Callable[..., str]) -> Solver:
    """Make the solver of a question that stands for itself."""
    return Solver(form=re.compile(question), answer=answer)
