"""The plan child: lines of JSON for a request, settings that fit, and errors by name."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass
from m43.records import profile_check
from m43.records.plan_record import PlanRequest, TrainingPlan
from m43.records.profile import Profile
from m43.records.run_dir import write_record
from m43.records.run_records import ChildError
from m43.training.plan import child as plan_child
from m43.training.plan import devices
from m43.training.plan.child import find_alternatives, is_near, settings_changed
from m43.training.plan.devices import NoCompilerError, devices_of, read_target
from m43.training.plan.plan import Planned
from m43.training.weights.config_json import read_model_config
from tests.unit.evidence.good_plan import limits, step_plan, training_plan

REHEARSAL = Path(__file__).parents[4] / "acceptance" / "rehearsal.toml"


def quick_plan(planned: Planned) -> TrainingPlan:
    """Plan without compiling: test_plan does that."""
    return training_plan(
        limits=planned.limits,
        parameters=planned.config.parameters,
        process_bytes=planned.process_bytes,
    )


def ask(tmp_path: Path, folder: Path, target: str = "", **training: object) -> tuple[int, str]:
    """Write a request, answer it, and give status and output."""
    profile = profile_check.load(REHEARSAL)
    small = {"batch_rows": 1, "sequence_tokens": 32, **training}
    profile = replace(profile, training=replace(profile.training, **small))
    path = tmp_path / "request.json"
    write_record(path, PlanRequest(profile=profile, config_folder=folder, target=target))
    out = io.StringIO()
    return plan_child.answer(path, out), out.getvalue()


def test_a_request_is_answered_from_config_json_alone(
    tmp_path: Path, tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tokenizer and weights in sight; the process itself is counted on a CPU."""
    (tmp_path / "config.json").write_text((tiny_gemma / "config.json").read_text())
    monkeypatch.setattr(plan_child, "make_plan", quick_plan)
    status, text = ask(tmp_path, tmp_path)
    plan, problems = typed_json.parse(TrainingPlan, text, "answer")
    assert status == 0
    assert plan is not None, problems
    assert plan.limits.device == "cpu:cpu"
    assert plan.process_bytes > 2**27
    assert plan.parameters == read_model_config(tiny_gemma).parameters


def test_a_run_that_does_not_fit_is_answered_twice_the_better_line_last(
    tmp_path: Path, tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan at once, then the same with what was found."""
    monkeypatch.setattr(plan_child, "make_plan", quick_plan)
    monkeypatch.setattr(plan_child, "is_near", lambda plan: True)
    monkeypatch.setattr(plan_child, "find_alternatives", lambda profile, plan: ())
    status, text = ask(tmp_path, tiny_gemma)
    first, second = (json.loads(line) for line in text.splitlines())
    assert status == 0
    assert first == second


@pytest.mark.parametrize(
    ("config_json", "target", "expected", "told"),
    [
        ("{}", "", FailureClass.MODEL_INVALID, "model_type"),
        (None, "rtx9090", FailureClass.PROFILE_INVALID, "rtx5090"),
    ],
)
def test_what_cannot_be_planned_is_named(
    tmp_path: Path,
    tiny_gemma: Path,
    config_json: str | None,
    target: str,
    expected: FailureClass,
    told: str,
) -> None:
    """A config that is no Gemma's, a card that nobody described."""
    text = config_json or (tiny_gemma / "config.json").read_text()
    (tmp_path / "config.json").write_text(text)
    status, answer = ask(tmp_path, tmp_path, target)
    error, _ = typed_json.parse(ChildError, answer, "answer")
    assert status == 3
    assert error is not None
    assert error.failure_class is expected
    assert told in " ".join(error.problems)


def test_without_the_compiler_for_a_card_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One clear error, with the commands that help."""
    monkeypatch.setattr(devices, "_installed", lambda name: False)
    with pytest.raises(NoCompilerError, match=r"\[cuda13\].*no card is needed") as raised:
        devices_of(read_target("rtx5090"), 1)
    assert raised.value.failure_class is FailureClass.PACKAGE_MISMATCH


PROFILE = profile_check.load(Path(__file__).parents[4] / "acceptance" / "rehearsal.toml")


def planner(sizes: dict[str, int]) -> tuple[list[Profile], object]:
    """Give a plan of a size for each kind of run, and remember what was planned."""
    asked: list[Profile] = []

    def plan(profile: Profile) -> TrainingPlan:
        asked.append(profile)
        training = profile.training
        size = sizes[training.method] // (4 if training.remat else 1)
        step = step_plan(temporaries_bytes=size // training.accumulate)
        return training_plan(step=step, process_bytes=0, limits=limits(memory_bytes=100 * 10**6))

    return asked, plan


def test_near_is_with_a_quarter_to_spare() -> None:
    """Further than the contract's margin, so that what is offered will pass."""
    step = step_plan(
        arguments_bytes=0, outputs_bytes=0, aliased_bytes=0, temporaries_bytes=80, compiling_bytes=0
    )
    nothing = {"process_bytes": 0, "read_back_bytes": 0, "weights_bytes": 0, "reading_bytes": 0}
    plan = training_plan(step=step, **nothing)
    assert not is_near(replace(plan, limits=limits(memory_bytes=100)))
    assert is_near(replace(plan, limits=limits(memory_bytes=99)))


def test_what_only_takes_time_comes_first_and_three_are_enough() -> None:
    """Remat alone fits; then parts of the batch; then another optimizer."""
    _, plan = planner({"full": 200 * 10**6, "lora": 10**6})
    found = find_alternatives(PROFILE, plan)  # type: ignore[arg-type]
    assert [way.settings for way in found] == [
        ("training.remat = true",),
        ("training.accumulate = 8", "training.remat = true"),
        ('training.optimizer = "adafactor"', "training.remat = true"),
    ]
    assert all(way.peak_bytes < 80 * 10**6 for way in found)


def test_what_does_not_fit_is_not_offered() -> None:
    """Where no full training fits, adapters are left."""
    asked, plan = planner({"full": 10**12, "lora": 10**6})
    found = find_alternatives(PROFILE, plan)  # type: ignore[arg-type]
    assert {profile.training.method for profile in asked} == {"full", "lora"}
    assert [way.settings[0] for way in found] == ['training.method = "lora"'] * 2
    assert found[0].settings[-1] == "lora.rank = 16, lora.alpha = 32.0"


def test_nothing_is_offered_where_nothing_fits() -> None:
    """And the search ends."""
    asked, plan = planner({"full": 10**15, "lora": 10**15})
    assert find_alternatives(PROFILE, plan) == ()  # type: ignore[arg-type]
    assert len(asked) == 7


def test_only_settings_that_differ_are_named() -> None:
    """In the words of the profile's file."""
    other = replace(PROFILE, training=replace(PROFILE.training, remat=True, batch_rows=1))
    assert settings_changed(PROFILE, other) == ("training.batch_rows = 1", "training.remat = true")
    assert settings_changed(PROFILE, PROFILE) == ()
