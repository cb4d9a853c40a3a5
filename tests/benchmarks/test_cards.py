"""The plan of Gemma 2B for cards that need not be here: what fits an RTX 5090 and what does not.

Needs XLA's compiler for CUDA and no card: `make plan-cards`.
"""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.harness.commands.plan import child_that_plans, fits
from m43.harness.gates.plan import ask
from m43.records import profile_check
from m43.records.plan_record import PlanRequest, TrainingPlan
from m43.records.profile import LoraTable
from m43.records.run_dir import write_record
from tests.benchmarks.random_gemma import CONFIG

REPOSITORY = Path(__file__).parents[2]
GIB = 2**30

pytestmark = pytest.mark.timeout(1800)

Plan = Callable[..., TrainingPlan]


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., PlanRequest]:
    """Ask for production with another method or batch."""
    (tmp_path / "config.json").write_text(json.dumps(dict(CONFIG)))
    profile = profile_check.load(REPOSITORY / "acceptance" / "production.toml")

    def make(target: str, method: str, rows: int, length: int, *, remat: bool) -> PlanRequest:
        lora = LoraTable(rank=16, alpha=32.0) if method == "lora" else None
        training = replace(
            profile.training,
            method=method,
            optimizer="adamw" if lora else "adafactor",
            batch_rows=rows,
            sequence_tokens=length,
            remat=remat,
        )
        mine = replace(profile, training=training, lora=lora)
        return PlanRequest(profile=mine, config_folder=tmp_path, target=target)

    return make


@pytest.fixture
def plan(request_of: Callable[..., PlanRequest]) -> Plan:
    """Plan what was asked for."""

    def make(target: str, method: str, rows: int, length: int, *, remat: bool) -> TrainingPlan:
        request = request_of(target, method, rows, length, remat=remat)
        answer = ask(child_that_plans(REPOSITORY, with_card=True), request)
        assert answer.training is not None, answer.reason
        print(  # noqa: T201 (a benchmark's result)
            f"{target} {method} {rows} x {length} remat {remat}: "
            f"{answer.training.peak_bytes / GIB:.2f} GiB, "
            f"{answer.training.step.float32_products} float32 products"
        )
        return answer.training

    return make


@pytest.mark.parametrize(
    ("method", "rows", "length", "gib"),
    [("full", 8, 512, 20), ("lora", 8, 512, 7), ("lora", 4, 2048, 11)],
)
def test_what_is_promised_fits_an_rtx_5090(
    plan: Plan, method: str, rows: int, length: int, gib: int
) -> None:
    """Within its bar, without a float32 product, without logits beyond the chunk."""
    found = plan("rtx5090", method, rows, length, remat=True)
    assert found.peak_bytes <= gib * GIB
    assert fits(found)
    assert found.step.float32_products == 0
    assert found.step.bfloat16_products > 30
    assert found.step.logits_rows <= 128


def test_without_remat_full_training_does_not_fit_and_what_would_is_named(plan: Plan) -> None:
    """The search finds settings by planning them."""
    found = plan("rtx5090", "full", 8, 512, remat=False)
    assert not fits(found)
    assert found.alternatives[0].settings == ("training.remat = true",)


def test_the_loss_as_it_is_usually_written_does_not_fit(
    plan: Plan, request_of: Callable[..., PlanRequest], tmp_path: Path
) -> None:
    """LoRA without remat fits an RTX 5090 by its chunks of logits, and only by them."""
    ours = plan("rtx5090", "lora", 8, 512, remat=False)
    request = tmp_path / "request.json"
    write_record(request, request_of("rtx5090", "lora", 8, 512, remat=False))
    child = child_that_plans(REPOSITORY, with_card=True)
    done = subprocess.run(
        [str(child.interpreter), "-m", "tests.benchmarks.naive_plan_child", str(request)],
        cwd=REPOSITORY,
        env=dict(child.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    naive, problems = typed_json.parse(TrainingPlan, done.stdout.splitlines()[0], "the plan")
    assert naive is not None, problems
    print(f"all logits at once: {naive.peak_bytes / GIB:.2f} GiB")  # noqa: T201 (as above)
    assert fits(ours)
    assert ours.step.logits_rows <= 128
    assert not fits(naive)
    assert naive.step.logits_rows >= 8 * 511


def test_an_h100_holds_the_full_training_twice(plan: Plan) -> None:
    """Another card, the same step."""
    found = plan("h100", "full", 8, 512, remat=True)
    assert found.limits.device == "gpu:NVIDIA H100 80GB HBM3"
    assert 2 * found.peak_bytes < found.limits.memory_bytes
