"""The stages: the contract's fixtures, a chain in which each gate needs the one before it.

A fixture returns what stands on disk. The gate of a promise is passed before the promise is
judged, and no gate is passed twice: session fixtures are made once, failures included.
"""

from collections.abc import Callable
from typing import TypeVar

import pytest

from m43.errors import FailureClass, Problem
from m43.evidence.run import EvaluationFacts, TrainFacts
from m43.harness.gates import gates
from m43.harness.run import Attempt, HubAccess, StoppedError
from m43.harness.terminal import RunView
from m43.records import (
    CLOSING,
    AuthRecord,
    ClosingRecord,
    Contract,
    MalformedRecordError,
    OpeningRecord,
    PlanRecord,
    Profile,
    VenvRecord,
    gate_named,
    gate_of,
)

T = TypeVar("T")

ATTEMPT = pytest.StashKey[Attempt]()
VIEW = pytest.StashKey[RunView]()


def _passed(attempt: Attempt, gate: Callable[[], T]) -> T:
    """Pass a gate, or fail the promise that asked for it with the reason and no traceback."""
    try:
        return gate()
    except StoppedError as stopped:
        text = str(stopped)
    except pytest.fail.Exception as late:
        # The backstop: pytest-timeout raises this inside whatever was running.
        problem = Problem(
            found=str(late),
            expected="a gate that ends",
            where="the backstop behind the deadlines of the profile",
            action="report this as an error of m43: a deadline of its own should have come first",
        )
        text = attempt.stop(FailureClass.TIMED_OUT, (problem,))
    # Out here: inside, pytest would tell the same story twice, as cause and as effect.
    pytest.fail(text, pytrace=False)


@pytest.fixture(scope="session")
def attempt(pytestconfig: pytest.Config) -> Attempt:
    """The run that has begun."""
    return pytestconfig.stash[ATTEMPT]


@pytest.fixture(scope="session")
def profile(attempt: Attempt) -> Profile:
    """The locked profile, as it stands in the run folder."""
    found = attempt.loaded.profile
    if found is None:
        raise MalformedRecordError(attempt.loaded.problems)
    return found


@pytest.fixture(scope="session")
def view(pytestconfig: pytest.Config) -> RunView:
    """What shows a person where a gate is."""
    return pytestconfig.stash[VIEW]


@pytest.fixture(scope="session")
def contract(profile: Profile) -> Contract:
    """The thresholds that the promises refer to."""
    return profile.contract


@pytest.fixture(scope="session")
def opening(attempt: Attempt) -> OpeningRecord:
    """What was true before the first gate."""
    record: OpeningRecord = attempt.loaded.require("opening")
    return record


@pytest.fixture(scope="session")
def auth(
    attempt: Attempt, opening: OpeningRecord, hub_access: HubAccess, view: RunView
) -> AuthRecord:
    """Gate 1: what the hub said to the token."""
    attempt.keep_secret(hub_access.secrets)
    with view.shown("auth"):
        return _passed(attempt, lambda: gates.pass_auth(attempt, hub_access))


@pytest.fixture(scope="session")
def venv(attempt: Attempt, auth: AuthRecord, hub_access: HubAccess, view: RunView) -> VenvRecord:
    """Gate 2: the environment that trains."""
    with view.shown("venv"):
        return _passed(attempt, lambda: gates.pass_venv(attempt, hub_access))


@pytest.fixture(scope="session")
def plan(attempt: Attempt, venv: VenvRecord) -> PlanRecord:
    """What the run was planned to take, at gate 2."""
    record: PlanRecord = attempt.loaded.require("plan")
    return record


@pytest.fixture(scope="session")
def train(attempt: Attempt, venv: VenvRecord, hub_access: HubAccess, view: RunView) -> TrainFacts:
    """Gate 3: the training that happened."""
    return _passed(attempt, lambda: gates.pass_train(attempt, hub_access, view))


@pytest.fixture(scope="session")
def evaluation(
    attempt: Attempt, train: TrainFacts, hub_access: HubAccess, view: RunView
) -> EvaluationFacts:
    """Gate 4: every row, both models."""
    return _passed(attempt, lambda: gates.pass_evaluation(attempt, hub_access, view))


@pytest.fixture(scope="session")
def closing(attempt: Attempt, evaluation: EvaluationFacts, view: RunView) -> ClosingRecord:
    """What is true after the last gate."""
    with view.shown(CLOSING):
        return _passed(attempt, lambda: gates.pass_closing(attempt))


@pytest.fixture(autouse=True)
def gate_of_promise(request: pytest.FixtureRequest) -> None:
    """Pass the gate that a promise is about, whatever records the promise itself asks for."""
    stage = gate_of(request.function.__name__)
    if stage is not None:
        request.getfixturevalue(gate_named(stage).record)
