"""The failure catalogue: what each failure class means, its likely cause and what to do about it.

To change a failure's words, edit its entry in at_the_hub or on_the_machine, and nothing else.
Outsiders use `FAILURES`, and `Confidence` and `Failure` for the types in it.
"""

from collections.abc import Mapping

from m43.errors import FailureClass
from m43.evidence.failures.at_the_hub import AT_THE_HUB
from m43.evidence.failures.failure import Confidence, Failure
from m43.evidence.failures.on_the_machine import ON_THE_MACHINE

__all__ = ["FAILURES", "Confidence", "Failure"]

FAILURES: Mapping[FailureClass, Failure] = {**AT_THE_HUB, **ON_THE_MACHINE}
