"""One attempt at a run: begun, watched, closed, or closed later by somebody else.

The working tree is measured by closing, before the first gate as after the last, what is installed
by packages; what a run stands on is looked at by local_checks, what steers it by surroundings and
traces.
Outsiders use `begin` and `Attempt` (attempt), `Plan` (opening), `ground_items` (local_checks),
`Item` (items), `HubAccess` (hub_access) and `close_run` (recovery).
"""

from m43.harness.run.attempt import Attempt, StoppedError, begin
from m43.harness.run.connection import connection_refused
from m43.harness.run.hub_access import (
    ACCEPTED_SOURCE,
    HubAccess,
    flaw,
    oddity,
    outside_world,
    shell_secrets,
    take_secrets,
    without_secrets,
)
from m43.harness.run.items import (
    Checklist,
    Group,
    Item,
    State,
    checked,
    is_ready,
    item_of,
    listed,
    note,
    unchecked,
)
from m43.harness.run.local_checks import ground_items
from m43.harness.run.next_command import free_name, look_again, run_command, verify_command
from m43.harness.run.opening import (
    Plan,
    git_files,
    named,
    own_command,
    runs_folder,
    shown,
    version,
)
from m43.harness.run.packages import Packages, audit, audit_judge, measure_packages, recorded_files
from m43.harness.run.recovery import Recovered
from m43.harness.run.unforeseen import gone, trouble_words

__all__ = [
    "ACCEPTED_SOURCE",
    "Attempt",
    "Checklist",
    "Group",
    "HubAccess",
    "Item",
    "Packages",
    "Plan",
    "Recovered",
    "State",
    "StoppedError",
    "audit",
    "audit_judge",
    "begin",
    "checked",
    "connection_refused",
    "flaw",
    "free_name",
    "git_files",
    "gone",
    "ground_items",
    "is_ready",
    "item_of",
    "listed",
    "look_again",
    "measure_packages",
    "named",
    "note",
    "oddity",
    "outside_world",
    "own_command",
    "recorded_files",
    "run_command",
    "runs_folder",
    "shell_secrets",
    "shown",
    "take_secrets",
    "trouble_words",
    "unchecked",
    "verify_command",
    "version",
    "without_secrets",
]  # fmt: skip
