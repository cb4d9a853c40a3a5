"""The plan of the venv gate: what is fetched for it, and what becomes of the child's answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.harness.gates import auth, plan
from m43.harness.process.process import Outcome
from m43.records.plan_record import CardMemory, PlanRecord
from m43.records.profile import Profile
from m43.records.run_records import ChildError
from m43.records.venv_record import VenvRecord
from tests.unit.evidence.good_plan import training_plan
from tests.unit.evidence.good_records import probe_record, process_record, profile_of, venv_record
from tests.unit.harness.card.fake_nvml import FakeCard, FakeNvml, install
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


def test_what_the_contract_knows_of_config_json_is_written_down_beside_it(
    start_world: StartWorld, profile: Profile, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """Of each key what the file says, and no word of a key that it lacks."""
    promised = {"model_type": "gemma2", "head_dim": 32}
    profile = replace(profile, contract=replace(profile.contract, config=promised))
    record = measured(start_world, profile, tmp_path, venv_record())
    assert record.config_values == {"model_type": "gemma"}
    assert typed_json.parse(PlanRecord, typed_json.dump(record), "") == (record, ())


@pytest.mark.parametrize("text", ["[]", "{", "", '{"head_dim": 1e999}'])
def test_a_config_json_that_is_no_table_says_nothing(
    tmp_path: Path, profile: Profile, text: str
) -> None:
    """Why it is none, the child says; here nothing may end with a traceback."""
    path = tmp_path / "config.json"
    path.write_text(text)
    contract = replace(profile.contract, config={"head_dim": 32})
    assert plan.read_values(path, contract) == {}
    assert plan.read_values(tmp_path / "none", contract) == {}
    for odd in (str(2**70), "[1, 2]", "None"):
        path.write_text(f'{{"head_dim": {odd}, "a": 1}}'.replace("None", "null"))
        assert plan.read_values(path, contract) == {"head_dim": odd}


def test_of_a_multimodal_base_the_contract_knows_the_text_part(
    tmp_path: Path, profile: Profile
) -> None:
    """Under the keys that a text model of the same shapes would have."""
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "gemma3", "text_config": {"head_dim": 128}}')
    contract = replace(profile.contract, config={"head_dim": 128, "model_type": "gemma3_text"})
    assert plan.read_values(path, contract) == contract.config


def test_without_the_hub_the_contract_is_planned_and_nothing_is_fetched(
    start_world: StartWorld, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """What is missing of the disk's part are the small files."""
    hub_access, hub = start_world()
    profile = profile_of()
    record = plan.measure(
        hub_access, profile, None, venv_record(), run_folder=tmp_path, repository=tmp_path
    )
    (request,) = told
    assert record.training is not None
    assert (record.config, record.config_values, hub.requests) == (None, {}, ())
    assert record.download_bytes == sum(profile.contract.file_bytes.values())
    assert not request.config_folder.exists()


def test_a_card_is_planned_with_the_memory_of_that_day(
    start_world: StartWorld, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child that compiles takes the share that training will, and the record says of what."""
    asked: list[plan.PlanChild] = []

    def ask(who: plan.PlanChild, request: plan.PlanRequest, see: object) -> plan.Answer:
        asked.append(who)
        return plan.read_answer(outcome(GOOD))

    monkeypatch.setattr(plan, "ask", ask)
    install(monkeypatch, FakeNvml(cards=[FakeCard(total=32 << 30, used=14 << 30)]))
    profile = replace(profile, contract=replace(profile.contract, platform="gpu"))
    record = measured(start_world, profile, tmp_path, venv_record())
    assert record.card_memory == CardMemory(
        share=0.5,
        total_bytes=32 << 30,
        free_bytes=18 << 30,
        not_told="",
        compute_mode="default",
        name="NVIDIA GeForce RTX 5090",
    )
    assert asked[0].environment["XLA_CLIENT_MEM_FRACTION"] == "0.5000"


def test_two_places_on_one_disk_need_what_both_need(
    start_world: StartWorld, profile: Profile, tmp_path: Path, told: list[plan.PlanRequest]
) -> None:
    """Download, trained model, adapters, and room for the evidence."""
    record = measured(start_world, profile, tmp_path, venv_record())
    needed = record.download_bytes + 14 + 6 + 2**27
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
            outcome(
                typed_json.dump_line(
                    ChildError(
                        failure_class=FailureClass.OUT_OF_DEVICE_MEMORY,
                        problems=("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.",),
                        step=0,
                    )
                ),
                exit_status=3,
            ),
            FailureClass.OUT_OF_MEMORY_COMPILING,
            "Out of memory allocating 9 bytes",
        ),
        (
            outcome(stderr=("F 1 gemm_fusion_autotuner.cc:1041] Non-OK-status:",), exit_status=-6),
            FailureClass.AUTOTUNER_FAILED,
            "Non-OK-status",
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
    interpreter.write_text(
        f'#!/bin/sh\nfor file; do :; done\ntest -s "$file" && echo "$1 $2" && cat <<E\n{GOOD}E\n'
    )
    interpreter.chmod(0o755)
    who = plan.PlanChild(
        interpreter=interpreter,
        environment={"PATH": "/usr/bin:/bin"},
        repository=tmp_path,
        deadline_s=20.0,
    )
    request = plan.PlanRequest(profile=profile, config_folder=tmp_path, target="")
    assert plan.ask(who, request).training == training_plan(model_bytes=14, adapter_bytes=6)
