"""Why a run failed: findings, each established, supported, a hypothesis or unknown.

The words of a class are the catalogue's (`evidence/failures/`); here they meet the run's records.
Outsiders use `diagnose_loaded` (diagnosis), `Finding` and `Diagnosis` (finding), and
`next_actions` (advice).
"""

from m43.evidence.diagnosis.advice import next_actions, next_name
from m43.evidence.diagnosis.by_child import ending, process_class, unwatched_words
from m43.evidence.diagnosis.diagnosis import (
    CUT_OFF,
    child_name,
    child_of,
    diagnose_loaded,
    is_cut_off,
)
from m43.evidence.diagnosis.finding import Diagnosis

__all__ = [
    "CUT_OFF", "Diagnosis", "child_name", "child_of", "diagnose_loaded", "ending",
    "is_cut_off", "next_actions", "next_name", "process_class", "unwatched_words",
]  # fmt: skip
