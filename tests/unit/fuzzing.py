"""How hard the properties about bad input are tried: a little by default, long by `make fuzz`."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_FACTOR = int(os.environ.get("M43_FUZZ", "1"))

Test = Callable[..., Any]


def hostile(count: int) -> Callable[[Test], Test]:
    """Try a property on so many examples, the same each time; `make fuzz` tries more and others."""
    how = settings(
        max_examples=count * _FACTOR,
        derandomize=_FACTOR == 1,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    return lambda test: pytest.mark.hostile(how(test))
