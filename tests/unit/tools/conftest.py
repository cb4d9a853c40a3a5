"""The folder that is served by hand is the one of the rehearsal's tests."""

from tests.unit.rehearsal.conftest import _no_hub_settings, folder

__all__ = ["_no_hub_settings", "folder"]
