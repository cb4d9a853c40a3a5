"""Does this device compute what float64 does? Asked in the venv gate, before anything is trained.

Outsiders use `check_numerics` (check) and, where devices are several, `check_devices`,
`exchange_along` and `seen_by_all` (exchange). They measure; what is near enough, the contract says.
"""

from m43.training.numerics.check import check_numerics
from m43.training.numerics.exchange import check_devices, exchange_along, seen_by_all

__all__ = ["check_devices", "check_numerics", "exchange_along", "seen_by_all"]
