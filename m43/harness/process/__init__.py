"""A child process from start to end: environment, log, deadline, and what it leaves behind.

Outsiders use `run_child` and `Outcome` (process), `child_environment` (environment), `own_code`
(isolation), `LogWriter` (log_writer), `Reaper` (reaper) and `Interruption` (signals).
"""

from m43.harness.process.environment import (
    Launcher,
    child_environment,
    hub_environment,
    launcher_environment,
)
from m43.harness.process.isolation import TRAINING, OwnCode, own_code
from m43.harness.process.process import (
    GRACE_S,
    Child,
    Outcome,
    Sight,
    last_of,
    oom_kills,
    run_child,
)
from m43.harness.process.signals import Interruption, forbid_core_dumps

__all__ = [
    "GRACE_S", "TRAINING", "Child", "Interruption", "Launcher", "Outcome", "OwnCode", "Sight",
    "child_environment", "forbid_core_dumps", "hub_environment", "last_of", "launcher_environment",
    "oom_kills", "own_code", "run_child",
]  # fmt: skip
