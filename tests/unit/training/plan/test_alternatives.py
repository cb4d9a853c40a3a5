"""The settings that would fit are found by planning them, the cheapest first."""

from dataclasses import replace
from pathlib import Path

from m43.records import profile_check
from m43.records.plan_record import TrainingPlan
from m43.records.profile import Profile
from m43.training.plan.child import find_alternatives, is_near, settings_changed
from tests.unit.evidence.good_plan import limits, step_plan, training_plan

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
