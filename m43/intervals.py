"""The interval: between which shares the true one lies, as far as so many rows can tell."""

import math
from dataclasses import dataclass
from statistics import NormalDist

_CONFIDENCE = 0.95
# Enough for any reader, and short of where another machine's logarithm may differ, so that
# bounds that are computed again elsewhere are the same.
_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The two ends of an interval of shares, each between 0 and 1."""

    low: float
    high: float


def wilson_interval(successes: int, trials: int) -> Interval:
    """Give Wilson's 95 % score interval for a share, rounded to six decimals.

    Unlike the usual share plus or minus two standard errors it stays between 0 and 1 and does
    not shrink to a point where all trials, or none, succeeded.

    Example:
        >>> wilson_interval(0, 100)
        Interval(low=0.0, high=0.036993)

    Raises:
        ValueError: if there are no trials, or more successes than trials.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        JASA 22 (1927), 209-212; in the form of R. G. Newcombe, Statistics in Medicine 17 (1998),
        857-872, method 3.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"found {successes} successes in {trials} trials, expected 0 to trials")
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    share = successes / trials
    middle = share + z**2 / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    low, high = (middle - reach) / scale, (middle + reach) / scale
    # A rounding error below 0 would be written as -0.0.
    return Interval(low=max(0.0, round(low, _DECIMALS)), high=min(1.0, round(high, _DECIMALS)))
