"""Speed, share of the peak and memory of a run, worked out by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from m43.evidence.documents.nodes import Fields
from m43.evidence.documents.performance import performance_section
from m43.evidence.run import loaded_run
from m43.evidence.run.loaded_run import EvaluationFacts, TrainFacts
from m43.evidence.run.speed import model_flops, performance, roofline_of, time_by_phase
from m43.records.plan_record import PartFlops, PlanRecord
from tests.unit.evidence.documents.written import as_markdown
from tests.unit.evidence.good_plan import limits, plan_record, step_plan, training_plan
from tests.unit.evidence.good_records import FILES, STEPS, step_metrics
from tests.unit.evidence.good_run import write_good_run

# Of which one can work out by hand what a step takes.
ROUND = step_plan(
    flops=(
        PartFlops(part="attention projections", flops=1536 * 1_000_000),
        PartFlops(part="attention", flops=1536 * 100_000),
        PartFlops(part="feed-forward", flops=1536 * 3_000_000),
        PartFlops(part="head", flops=1536 * 2_000_000),
    ),
    state_bytes_moved=40_000_000,
)
PLAN = plan_record(training=training_plan(step=ROUND))


def section(plan: PlanRecord, train: TrainFacts, evaluation: EvaluationFacts) -> str:
    """Write the section about speed and memory."""
    run = SimpleNamespace(plan=plan, train=train, evaluation=evaluation)
    return as_markdown(*performance_section(Fields(run)))


@pytest.fixture(scope="module")
def facts_of_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainFacts, EvaluationFacts]:
    """Read a good run's facts: 300 steps of 0.1 s, each 1536 padded, 400 real, 60 supervised."""
    run = write_good_run(tmp_path_factory.mktemp("performance"))
    facts = loaded_run.load_run(run)
    return facts.require("train"), facts.require("evaluation")


@pytest.fixture(scope="module")
def train(facts_of_run: tuple[TrainFacts, EvaluationFacts]) -> TrainFacts:
    """Read what training did."""
    return facts_of_run[0]


def test_only_what_the_loss_needs_is_work() -> None:
    """Real tokens through the layers, supervised ones through the head, no padding anywhere."""
    per_real, attention, head = 1_000_000 + 3_000_000, 100_000, 2_000_000
    step = step_metrics(1)
    assert model_flops(ROUND, step) == 400 * (per_real + attention) + 60 * head
    # In a batch a quarter as long a token looks at a quarter as many others.
    shorter = replace(step, padded_tokens=384)
    assert model_flops(ROUND, shorter) == 400 * (per_real + attention / 4) + 60 * head


def test_the_roofline_is_the_slower_of_arithmetic_and_memory() -> None:
    """1.76 GFLOP at 1e11 per second, or 40 MB and twice 100 MB of temporaries at 1e10."""
    step = step_metrics(1)
    plan = training_plan(step=ROUND, limits=limits(bytes_per_s=1e12))
    assert roofline_of(plan, step) == pytest.approx(1.76e9 / 1e11)
    assert roofline_of(training_plan(step=ROUND), step) == pytest.approx(240e6 / 1e10)


def test_a_run_is_held_against_its_plan(train: TrainFacts) -> None:
    """Tokens by kind, share of the peak with the head, share of the roofline, memory."""
    found = performance(PLAN, train)
    assert found is not None
    assert found.steps_s == pytest.approx(30)
    assert found.padded_tokens_per_s == pytest.approx(15_360)
    assert found.real_tokens_per_s == pytest.approx(4000)
    assert found.supervised_tokens_per_s == pytest.approx(600)
    assert found.model_flops == pytest.approx(STEPS * 1.76e9)
    assert found.share_of_peak == pytest.approx(STEPS * 1.76e9 / 30 / 1e11)
    assert found.share_of_roofline == pytest.approx(0.24)
    assert found.planned_peak_bytes == 800_000_000 + 112_000_100
    assert found.measured_peak_bytes == 10**9


def test_on_a_card_its_own_memory_is_what_counts(train: TrainFacts) -> None:
    """The process beside it is another matter."""
    there = replace(train, device="gpu:NVIDIA GeForce RTX 5090", peak_device_bytes=7)
    found = performance(PLAN, there)
    assert found is not None
    assert found.measured_peak_bytes == 7


def test_without_a_plan_nothing_is_claimed(
    facts_of_run: tuple[TrainFacts, EvaluationFacts],
) -> None:
    """And the section says so."""
    train, evaluation = facts_of_run
    none = plan_record(training=None, reason="x")
    assert performance(none, train) is None
    assert performance(PLAN, replace(train, metrics=())) is None
    assert "Not measured" in section(none, train, evaluation)


def test_the_time_of_both_gates_is_all_there(
    facts_of_run: tuple[TrainFacts, EvaluationFacts],
) -> None:
    """Phases by name, and what they leave over of their process."""
    train, evaluation = facts_of_run
    phases = time_by_phase(train, evaluation)
    whole_s = train.download.duration_s + train.process.duration_s + evaluation.process.duration_s
    assert sum(phase.duration_s for phase in phases) == pytest.approx(whole_s)
    assert [phase.name for phase in phases][:2] == ["download", "train: import"]


def test_the_section_puts_planned_beside_measured(
    facts_of_run: tuple[TrainFacts, EvaluationFacts],
) -> None:
    """Every figure with the file that it comes from."""
    text = section(PLAN, *facts_of_run)
    for line in (
        "| real tokens per second | 4,000 | training_metrics.jsonl |",
        "| supervised tokens per second | 600 | training_metrics.jsonl |",
        "| MFU: share of the device's peak FLOP/s | 17.6 % | plan.json, training_metrics.jsonl |",
        "| memory at the peak, planned | 869.8 MiB | plan.json |",
        "| memory at the peak, measured | 953.7 MiB | train.process.json |",
    ):
        assert line in text
    assert "differs from it by +10 %" in text
    assert f"{FILES[0].size_bytes} bytes were fetched: config.json alone" in text
