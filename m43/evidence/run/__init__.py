"""One run folder as a whole: loaded, told from its journal, and accepted or not.

Outsiders use `load_run` and `LoadedRun` with its `verdict` (loaded_run; it is worked out in
acceptance), `promise_states` (history), `find_stop` (run_end), `performance` (speed) and
`card_use` (card).
"""

from m43.evidence.run.acceptance import contract_differences
from m43.evidence.run.card import (
    CardUse,
    Look,
    card_use,
    energy_by_power_j,
    looks,
    work_energy_j,
)
from m43.evidence.run.comparison import Answers, Comparison, CurvePoint, Pair, RowChange, compare
from m43.evidence.run.history import (
    NOT_JUDGED,
    NOT_MEASURED,
    PURPOSES,
    promise_states,
    seconds_between,
    steps_back,
    stretches,
    told_entries,
    total_s,
    watermark,
)
from m43.evidence.run.lies import broken_by, records_of, untold
from m43.evidence.run.loaded_run import (
    Child,
    Complete,
    EvaluationFacts,
    LoadedRun,
    TrainFacts,
    load_run,
    moment,
)
from m43.evidence.run.run_end import GateState, Stop, find_stop, gate_states
from m43.evidence.run.snapshots import devices_snapshot, env_snapshot, exchanged
from m43.evidence.run.speed import (
    SMOOTHED_STEPS,
    performance,
    running_mean,
    time_by_phase,
    tokens_per_s,
)

__all__ = [
    "NOT_JUDGED",
    "NOT_MEASURED",
    "PURPOSES",
    "SMOOTHED_STEPS",
    "Answers",
    "CardUse",
    "Child",
    "Comparison",
    "Complete",
    "CurvePoint",
    "EvaluationFacts",
    "GateState",
    "LoadedRun",
    "Look",
    "Pair",
    "RowChange",
    "Stop",
    "TrainFacts",
    "broken_by",
    "card_use",
    "compare", "contract_differences",
    "devices_snapshot",
    "energy_by_power_j",
    "env_snapshot", "exchanged",
    "find_stop",
    "gate_states",
    "load_run",
    "looks",
    "moment",
    "performance",
    "promise_states",
    "records_of",
    "running_mean",
    "seconds_between",
    "steps_back",
    "stretches",
    "time_by_phase",
    "tokens_per_s",
    "told_entries",
    "total_s",
    "untold",
    "watermark",
    "work_energy_j",
]  # fmt: skip
