"""What a run is told and what it measured: profile, records, run folder.

Outsiders use `Profile` (profile), `load` (profile_check), the table of gates with `gate_named`
and `gate_of` (gates), the records of run_records, evaluation_record and plan_record, and `RunDir`,
which is the table of a run's files, with `write_record` (run_dir).
"""

from m43.records.card_record import CardProcess, CardReading, CardSample, NoCard
from m43.records.evaluation_record import (
    Decoding,
    EvaluationRecord,
    EvaluationResults,
    FormCount,
    Interval,
    LintRecord,
    Prediction,
    Tally,
)
from m43.records.gates import (
    CLOSING,
    GATES,
    STAGES,
    TABLE,
    gate_named,
    gate_of,
    gate_of_child,
    gate_title,
)
from m43.records.hub_record import (
    AuthRecord,
    Certificate,
    DownloadRecord,
    HubResponse,
    HubStep,
    HubWay,
    PinnedFile,
    UnaskedRequest,
)
from m43.records.numerics_record import NOT_MEASURED, NumericsRecord, StepNumerics
from m43.records.plan_record import (
    EVIDENCE_BYTES,
    MARGIN,
    Alternative,
    Buffer,
    CardMemory,
    Collectives,
    Disk,
    Limits,
    PartFlops,
    PlanRecord,
    PlanRequest,
    StepPlan,
    TrainingPlan,
)
from m43.records.profile import (
    DEFAULT_ENDPOINT,
    LOOPBACK_ENDPOINT,
    SELF_VENV,
    TIME_IN_NAME,
    ColumnsTable,
    ConfigValue,
    Contract,
    DataColumns,
    DataTable,
    DivergenceTable,
    LaunchTable,
    LoraTable,
    MeshTable,
    Profile,
    RunTable,
    TemplateTable,
    TrainingTable,
    Transport,
)
from m43.records.run_dir import (
    FILES,
    NotARunError,
    RunDir,
    child_file,
    read_lines,
    read_record,
    remove_unfinished,
    require_run,
    unfinished,
    write_atomically,
    write_last_record,
    write_record,
)
from m43.records.run_records import (
    ChildError,
    ClosingRecord,
    EarlierAttempt,
    Heartbeat,
    ImportedRecord,
    MalformedRecordError,
    NotedRecord,
    OpeningRecord,
    Origins,
    Phase,
    ProcessRecord,
    RecoveryRecord,
    StepMetrics,
    TrainingProcess,
    TrainRecord,
    Vitals,
    steps_sha256,
)
from m43.records.venv_record import (
    Collective,
    Device,
    Exchange,
    MeshRecord,
    Package,
    ProbedProcess,
    ProbeRecord,
    Requirement,
    VenvRecord,
)

__all__ = [
    "CLOSING", "DEFAULT_ENDPOINT", "EVIDENCE_BYTES", "FILES", "GATES", "LOOPBACK_ENDPOINT",
    "MARGIN", "NOT_MEASURED", "SELF_VENV", "STAGES", "TABLE", "TIME_IN_NAME", "Alternative",
    "AuthRecord", "Buffer", "CardMemory", "CardProcess", "CardReading", "CardSample",
    "Certificate", "ChildError", "ClosingRecord", "Collective", "Collectives", "ColumnsTable",
    "ConfigValue", "Contract", "DataColumns", "DataTable", "Decoding", "Device", "Disk",
    "DivergenceTable", "DownloadRecord", "EarlierAttempt", "EvaluationRecord",
    "EvaluationResults", "Exchange", "FormCount", "Heartbeat", "HubResponse", "HubStep",
    "HubWay", "ImportedRecord", "Interval", "LaunchTable", "Limits", "LintRecord", "LoraTable",
    "MalformedRecordError", "MeshRecord", "MeshTable", "NoCard", "NotARunError", "NotedRecord",
    "NumericsRecord", "OpeningRecord", "Origins", "Package", "PartFlops", "Phase", "PinnedFile",
    "PlanRecord", "PlanRequest", "Prediction", "ProbeRecord", "ProbedProcess", "ProcessRecord",
    "Profile", "RecoveryRecord", "Requirement", "RunDir", "RunTable", "StepMetrics",
    "StepNumerics", "StepPlan", "Tally", "TemplateTable", "TrainRecord", "TrainingPlan",
    "TrainingProcess", "TrainingTable", "Transport", "UnaskedRequest", "VenvRecord", "Vitals",
    "child_file", "gate_named", "gate_of", "gate_of_child", "gate_title", "read_lines",
    "read_record", "remove_unfinished", "require_run", "steps_sha256", "unfinished",
    "write_atomically", "write_last_record", "write_record",
]  # fmt: skip
