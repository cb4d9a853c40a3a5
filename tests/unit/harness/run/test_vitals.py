"""By what it can be told later whether the machine was restarted."""

import os
from pathlib import Path

from m43.harness.run.recovery import NO_BOOT_ID, vitals


def test_the_vitals_are_of_this_start_of_the_machine(tmp_path: Path) -> None:
    """Twice the same in one start; where the system does not say, that is said."""
    (tmp_path / "boot_id").write_text("0d93baa2\n")
    assert vitals(tmp_path / "boot_id").boot_id == "0d93baa2"
    assert vitals() == vitals()
    assert vitals().pid == os.getpid()
    assert vitals(tmp_path / "absent").boot_id == NO_BOOT_ID
