"""The hub says no, says nothing, or says something else: each stops at its gate with its class."""

from collections.abc import Mapping

import pytest

from m43.errors import FailureClass as F
from tests.faults import matrix
from tests.faults.agreement import assert_agreement
from tests.faults.conftest import Starter
from tests.faults.matrix import Case
from tests.faults.remains import examine
from tests.faults.tree import FaultTree
from tests.faults.world import marked, the_world
from tools.faulty_hub import Fault, FaultKind

# The name is that of the real weights, whose body comes from the storage.
WEIGHTS = "storage/model.safetensors"

FAULTS: Mapping[str, Fault] = {
    "token refused": Fault(kind=FaultKind.TOKEN_REFUSED),
    "licence not accepted": Fault(kind=FaultKind.LICENCE_NOT_ACCEPTED),
    "fine-grained token without gated access": Fault(kind=FaultKind.TOKEN_WITHOUT_GATED_ACCESS),
    "unknown repository": Fault(kind=FaultKind.UNKNOWN_REPOSITORY),
    "unknown revision": Fault(kind=FaultKind.UNKNOWN_REVISION),
    "missing file": Fault(kind=FaultKind.MISSING_FILE, where="tokenizer.json"),
    "429": Fault(kind=FaultKind.RATE_LIMITED),
    "500": Fault(kind=FaultKind.SERVER_ERROR),
    "answers slower than the limit": Fault(kind=FaultKind.SLOW, delay_s=60.0),
    "429 at a file": Fault(kind=FaultKind.RATE_LIMITED, where=WEIGHTS),
    "500 at a file": Fault(kind=FaultKind.SERVER_ERROR, where=WEIGHTS),
    "connection cut in a file": Fault(kind=FaultKind.CUT, where=WEIGHTS, after_bytes=1000),
    "digest does not match": Fault(kind=FaultKind.WRONG_BYTES, where=WEIGHTS),
    "slow answers at a file": Fault(kind=FaultKind.SLOW, where=WEIGHTS, delay_s=120.0),
}
VARIABLES: Mapping[str, dict[str, str]] = {
    "no token": {"HF_TOKEN": ""},
    "empty token": {"HF_TOKEN": "  "},
    "offline mode set": {"HF_HUB_OFFLINE": "1"},
}
# TEST-NET-1 of RFC 5737 is routed nowhere; port 9 of this machine has nobody behind it.
ENDPOINTS: Mapping[str, str] = {
    "port closed": "http://127.0.0.1:9",
    "no route at all": "http://192.0.2.1",
    # Of a hub on this machine nobody is kept by it.
    "offline mode set": "http://192.0.2.1",
}


@pytest.mark.parametrize("case", marked(matrix.HUB))
def test_a_hub_that_fails_is_named(case: Case, tree: FaultTree, begin: Starter) -> None:
    """What the engineer can do depends on which of these it was."""
    fault = FAULTS.get(case.fault, Fault(kind=FaultKind.NONE))
    with the_world(tree, fault) as variables:
        if case.fault in ENDPOINTS:
            tree.write_profile(hub__endpoint=ENDPOINTS[case.fault])
        variables |= VARIABLES.get(case.fault, {})
        rehearsal = begin(**variables)
        status = rehearsal.end()
        if case.gate == "auth":
            assert_agreement(tree, rehearsal.name, **variables)
    matrix.enter(case, examine(rehearsal, status, case.closer))


@pytest.mark.quick
def test_what_is_not_compared_with_the_checklist_happens_to_a_run() -> None:
    """A look sees the world as it is; a signal, or a disk that fills up later, is nowhere yet.

    Nor is it tried as another user, of whom few processes are allowed.
    """
    compared = {case.id for case in matrix.HUB} | {"deadline of the probe @ venv"}
    early = [case for case in matrix.EVERY if case.gate in matrix.GATES[:2]]
    assert compared <= {case.id for case in matrix.EVERY}
    others = {case.failure_class for case in early if case.id not in compared}
    assert others == {F.INTERRUPTED, F.KILLED, F.DISK_FULL, F.PROCESS_LIMIT}
