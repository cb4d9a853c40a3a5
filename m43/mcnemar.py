"""McNemar's exact test: whether two models that answered the same rows differ by more than luck."""

import math
from fractions import Fraction


def mcnemar_p(gained: int, lost: int) -> float:
    """Give the exact two-sided p-value of McNemar's test.

    Only rows that one model answers rightly and the other wrongly say anything about a
    difference. Were both equally good, each such row would be won by either with the chance of
    a fair coin: p is the chance of a split at least as uneven. Without such rows it is 1.

    Args:
        gained: rows that only the second model answers rightly.
        lost: rows that only the first model answers rightly.

    Example:
        >>> mcnemar_p(5, 0), mcnemar_p(3, 1), mcnemar_p(0, 0)  # 2 of 32, 10 of 16
        (0.0625, 0.625, 1.0)

    Raises:
        ValueError: if a count is negative.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated
        proportions or percentages", Psychometrika 12 (1947), 153-157; exact (binomial) as in
        A. Agresti, Categorical Data Analysis, 2nd ed. (2002), section 10.1.4.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"found {gained} gained and {lost} lost rows, expected no negative count")
    rows = gained + lost
    tail = sum(math.comb(rows, count) for count in range(min(gained, lost) + 1))
    # Both tails; where the split is even they overlap in the middle. A fraction is exact, and its
    # float is the same on every machine.
    return float(min(Fraction(1), Fraction(2 * tail, 2**rows)))
