"""What a run promises and whether it kept it: the contract, the measurements, the verdict.

Outsiders use `read_contract` and `Promise` (contract), where contracts and m43 itself lie and in
what one is not the M43 contract (folder), `measure` (measurement), `judge` and
`Verdict` (verdict), and `auth_checks` and `venv_checks` (checks), which explain a promise and
decide nothing.
"""

from m43.evidence.contract.check import Check, failing
from m43.evidence.contract.checks import auth_checks, venv_checks
from m43.evidence.contract.contract import ContractText, Promise, read_contract, read_kept
from m43.evidence.contract.folder import (
    CARRIED,
    CONFTEST,
    LIES,
    M43,
    PROMISES,
    called,
    contract_folders,
    contract_path,
    folder_of,
    home,
    is_installed,
    package,
    profile_path,
    promise_differences,
    rows_differences,
    unkeepable,
)
from m43.evidence.contract.hub_failure import (
    CHILD_ENDED,
    DEADLINE,
    cause_names,
    hub_answer_class,
    response_class,
)
from m43.evidence.contract.measurement import Judged, measure
from m43.evidence.contract.model_checks import (
    MODEL_DESCRIBED,
    hub_model_checks,
    model_words,
    promised_words,
)
from m43.evidence.contract.planned import (
    EXCLUSIVE,
    alternatives_words,
    card_memory_words,
    plan_checks,
    venv_gate_checks,
)
from m43.evidence.contract.verdict import Verdict, judge, verdict_words

__all__ = [
    "CARRIED",
    "CHILD_ENDED",
    "CONFTEST",
    "DEADLINE",
    "EXCLUSIVE",
    "LIES",
    "M43",
    "MODEL_DESCRIBED",
    "PROMISES",
    "Check",
    "ContractText",
    "Judged",
    "Promise",
    "Verdict",
    "alternatives_words",
    "auth_checks",
    "called",
    "card_memory_words",
    "cause_names",
    "contract_folders",
    "contract_path",
    "failing",
    "folder_of",
    "home",
    "hub_answer_class",
    "hub_model_checks",
    "is_installed",
    "judge",
    "measure",
    "model_words",
    "package",
    "plan_checks",
    "profile_path",
    "promise_differences",
    "promised_words",
    "read_contract",
    "read_kept",
    "response_class",
    "rows_differences",
    "unkeepable",
    "venv_checks",
    "venv_gate_checks",
    "verdict_words",
]  # fmt: skip
