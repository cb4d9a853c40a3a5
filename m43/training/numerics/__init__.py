"""Does this device compute what float64 does? Asked in the venv gate, before anything is trained.

Outsiders use `check_numerics` (check). It measures; what is near enough, the contract says.
"""

from m43.training.numerics.check import check_numerics

__all__ = ["check_numerics"]
