"""The plan of the venv gate: what is fetched for it, and what becomes of the child's answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.harness.gates import auth, plan
from m43.harness.process.process import Outcome
from m43.records.plan_record import PlanRecord
from m43.records.profile import Profile
from m43.records.run_records import ChildError, VenvRecord
from tests.unit.evidence.good_plan import training_plan
from tests.unit.evidence.good_records import probe_record, process_record, venv_record
from tests.unit.harness.conftest import StartWorld

GOOD = typed_json.dump_line(training_plan(model_bytes=14, adapter_bytes=6))


def outcome(*stdout: str, stderr: tuple[str, ...] = (), **process: object) -> Outcome:
    """Make the end of a plan child."""
    return Outcome(record=process_record(**process), stdout=stdout, stderr=stderr)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[plan.PlanRequest]:
    """Have a child that answers well at once, and keep what it was asked."""
    asked: list[plan.PlanRequest] = []

    def ask(who: plan.PlanChild, request: plan.PlanRequest, see: object) -> plan.Answer:
        asked.append(request)
        return plan.read_answer(outcome(GOOD))

    monkeypatch.setattr(plan, "ask", ask)
    return asked


def measured(
    start_world: StartWorld, profile: Profile, tmp_path: Path, venv: VenvRecord
) -> PlanRecord:
    """Pass the auth gate, then plan."""
    hub_access, _ = start_world()
    record = auth.measure(hub_access, profile)
    return plan.measure(
        hub_access,
        profile,
        record,
        venv,
        run_folder=tmp_path / "runs" / "one",
        repository=tmp_path,
    )


def test_the_plan_fetches_config_json_and_nothing_else(
    start_world: StartWorld, profile: Profile, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """Its folder in the cache is what the child is given; the weights are still to come."""
    record = measured(start_world, profile, tmp_path, venv_record())
    (request,) = told
    names = {path.name for path in request.config_folder.iterdir()}
    assert names == {"config.json"}
    assert record.config is not None
    assert record.config_bytes_moved == record.config.size_bytes == 24
    assert record.download_bytes == 307_200 + 3
    assert record.training == training_plan(model_bytes=14, adapter_bytes=6)


def test_two_places_on_one_disk_need_what_both_need(
    start_world: StartWorld, profile: Profile, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """Download, trained model, adapters, and room for the evidence."""
    record = measured(start_world, profile, tmp_path, venv_record())
    needed = record.download_bytes + 14 + 6 + 2**26
    assert record.cache.needed_bytes == record.run.needed_bytes == needed
    assert record.cache.free_bytes > 0
    assert Path(record.run.folder).is_dir()


def test_an_environment_that_cannot_compute_gets_no_plan_and_no_request(
    start_world: StartWorld, profile: Profile, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """What is wrong with it is told by its own checks."""
    venv = venv_record(probe_record(import_error="ImportError: jaxlib"))
    record = measured(start_world, profile, tmp_path, venv)
    assert told == []
    assert record.training is None
    assert record.failure_class is FailureClass.BROKEN_VENV
    assert (record.config, record.config_bytes_moved) == (None, 0)
    assert (record.peak_bytes, record.memory_bytes) == (0, 0)


def test_another_config_json_than_the_pinned_one_stops_the_gate(
    start_world: StartWorld, profile: Profile, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """A plan of another model would be worth nothing."""
    hub_access, _ = start_world()
    record = auth.measure(hub_access, profile)
    first = replace(record.files[0], digest="0" * 40)
    record = replace(record, files=(first, *record.files[1:]))
    with pytest.raises(GateStoppedError) as raised:
        plan.measure(
            hub_access,
            profile,
            record,
            venv_record(),
            run_folder=tmp_path,
            repository=tmp_path,
        )
    assert raised.value.failure_class is FailureClass.DOWNLOAD_CORRUPT
    assert told == []


def test_the_last_plan_that_was_printed_counts() -> None:
    """Also when the child was ended while it looked for something better."""
    better = typed_json.dump_line(training_plan(parameters=2))
    answer = plan.read_answer(outcome("noise", GOOD, better, "noise"))
    assert answer.training == training_plan(parameters=2)
    ended = plan.read_answer(outcome(GOOD, exit_status=-15, ended_by_parent="deadline"))
    assert ended.training is not None
    assert ended.reason == ""


@pytest.mark.parametrize(
    ("end", "expected", "told_of"),
    [
        (
            outcome(
                typed_json.dump_line(
                    ChildError(
                        failure_class=FailureClass.MODEL_INVALID, problems=("no head",), step=0
                    )
                ),
                exit_status=3,
            ),
            FailureClass.MODEL_INVALID,
            "no head",
        ),
        (
            outcome(stderr=("Segmentation fault",), exit_status=-11),
            FailureClass.BROKEN_VENV,
            "status -11 and said: Segmentation fault",
        ),
        (
            outcome("{}", exit_status=-9, ended_by_parent="deadline", duration_s=180.0),
            FailureClass.TIMED_OUT,
            "no plan after 3 min 00 s",
        ),
    ],
)
def test_a_child_without_a_plan_is_an_answer_too(
    end: Outcome, expected: FailureClass, told_of: str
) -> None:
    """The reason is what it said, how it ended, or that it did not."""
    answer = plan.read_answer(end)
    assert answer.training is None
    assert answer.failure_class is expected
    assert told_of in answer.reason


def test_a_real_child_is_started_and_read(tmp_path: Path, profile: Profile) -> None:
    """Its command is the environment's interpreter on the request; its output is the answer."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\ntest -s "$4" && echo "$1 $2 $3" && cat <<E\n{GOOD}E\n')
    interpreter.chmod(0o755)
    who = plan.PlanChild(
        interpreter=interpreter,
        environment={"PATH": "/usr/bin:/bin"},
        repository=tmp_path,
        deadline_s=20.0,
    )
    request = plan.PlanRequest(profile=profile, config_folder=tmp_path, target="")
    assert plan.ask(who, request).training == training_plan(model_bytes=14, adapter_bytes=6)
