"""The failure catalogue: what each failure class means, its likely cause and what to do about it.

To change a failure's words, edit its entry in at_the_hub, on_the_machine or on_the_card, and
nothing else. Outsiders use `FAILURES`, `Confidence` and `Failure` for the types in it, and
`recognise`, which names known trouble by the texts that tell of it.
"""

from collections.abc import Mapping

from m43.errors import FailureClass
from m43.evidence.failures.at_the_hub import AT_THE_HUB
from m43.evidence.failures.failure import Confidence, Failure
from m43.evidence.failures.known_trouble import COMPILING, is_wsl, recognise
from m43.evidence.failures.on_the_card import ON_THE_CARD
from m43.evidence.failures.on_the_machine import ON_THE_MACHINE

__all__ = ["COMPILING", "FAILURES", "Confidence", "Failure", "is_wsl", "recognise"]

FAILURES: Mapping[FailureClass, Failure] = {**AT_THE_HUB, **ON_THE_MACHINE, **ON_THE_CARD}
