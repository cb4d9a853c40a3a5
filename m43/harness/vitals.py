"""The vitals: by what one can tell later whether the machine was restarted or out of memory."""

import os
from pathlib import Path

from m43.harness.process import oom_kills
from m43.records import Vitals

# Source: random(4): a number that Linux draws anew at every start of the machine.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NO_BOOT_ID = "not told"


def vitals(boot_id: Path = _BOOT_ID) -> Vitals:
    """Look at the machine and at this process."""
    try:
        text = boot_id.read_text().strip()
    except OSError:
        text = NO_BOOT_ID
    return Vitals(boot_id=text, pid=os.getpid(), oom_kills=oom_kills())
