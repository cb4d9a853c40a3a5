"""The lifeline: a child that never outlives the parent that watches it."""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

# Source: prctl(2), PR_SET_PDEATHSIG in <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
# The parent's process id, told to the child: without it a parent that died before the child's
# first instruction could not be told from the process that adopted the child.
PARENT_VARIABLE = "M43_PARENT_PID"


def tie_to_parent(environment: Mapping[str, str]) -> None:
    """Have the kernel kill this process when its parent ends; leave if that has happened.

    The kernel means the parent's thread: whoever starts this process from a thread must keep
    that thread. Elsewhere than on Linux nothing is done; the venv gate refuses those systems.
    """
    if sys.platform != "linux":
        return
    parent = int(environment.get(PARENT_VARIABLE, os.getppid()))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # Asked after the call: a parent that ends from here on takes this process with it.
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} is gone; nobody would watch this run, so it ends")
