"""The copies in which the faults' rehearsals are made."""

from tests.faults.conftest import prepared, tree

__all__ = ["prepared", "tree"]
