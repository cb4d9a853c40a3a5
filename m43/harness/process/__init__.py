"""A child process from start to end: environment, log, deadline, and what it leaves behind.

Outsiders use `run_child` and `Outcome` (process), `child_environment` (environment), `LogWriter`
(log_writer), `Reaper` (reaper) and `Interruption` (signals).
"""

from m43.harness.process.environment import child_environment, hub_environment
from m43.harness.process.process import Child, Outcome, Sight, oom_kills, run_child
from m43.harness.process.signals import Interruption, forbid_core_dumps

__all__ = [
    "Child", "Interruption", "Outcome", "Sight", "child_environment", "forbid_core_dumps",
    "hub_environment", "oom_kills", "run_child",
]  # fmt: skip
