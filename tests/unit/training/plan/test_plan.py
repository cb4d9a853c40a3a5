"""The plan is that of the step which training takes, and everything in it follows from it."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from m43.core.config import GemmaConfig
from m43.core.gemma import abstract_gemma
from m43.records import profile_check
from m43.records.plan_record import TrainingPlan
from m43.records.profile import LoraTable, Profile
from m43.training.plan.hlo import read_module
from m43.training.plan.plan import (
    Planned,
    abstract_batch,
    count_rows,
    logits_rows,
    make_plan,
    state_bytes_moved,
)
from m43.training.trainer import build_abstract_step, build_trainer
from m43.training.weights.config_json import ModelConfigError, declared_dtype, read_model_config
from tests.unit.evidence.good_plan import limits

REHEARSAL = Path(__file__).parents[4] / "acceptance" / "rehearsal.toml"


@pytest.fixture(scope="module")
def profile() -> Profile:
    """The bundled rehearsal with small batches."""
    loaded = profile_check.load(REHEARSAL)
    return replace(
        loaded, training=replace(loaded.training, batch_rows=2, sequence_tokens=32, remat=True)
    )


def lora_of(profile: Profile) -> Profile:
    """Train adapters instead."""
    return replace(
        profile,
        training=replace(profile.training, method="lora"),
        lora=LoraTable(rank=2, alpha=4.0),
    )


@pytest.fixture(scope="module")
def gemma(tiny_gemma: Path) -> GemmaConfig:
    """The tiny model's config."""
    return read_model_config(tiny_gemma)


@pytest.fixture(scope="module")
def plan(profile: Profile, tiny_gemma: Path, gemma: GemmaConfig) -> TrainingPlan:
    """Plan the full training once."""
    planned = Planned(
        profile=profile,
        config=gemma,
        stored=declared_dtype(tiny_gemma),
        limits=limits(),
        place=lambda arguments: arguments,
        process_bytes=1000,
    )
    return make_plan(planned)


def leaves_of(gemma: GemmaConfig) -> list[jax.ShapeDtypeStruct]:
    """List the weights as shapes."""
    return jax.tree.leaves(nnx.state(abstract_gemma(gemma, np.float32)))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_shapes_and_arrays_give_the_same_step(
    profile: Profile, tiny_gemma: Path, gemma: GemmaConfig, method: str
) -> None:
    """The step lowered from config.json alone is, line for line, the one that training compiles."""
    mine = profile if method == "full" else lora_of(profile)
    built = build_abstract_step(mine, gemma, declared_dtype(tiny_gemma))
    batch = abstract_batch(2, 32)
    planned = built.step.lower(built.abstract_state(), built.frozen, batch)
    taken = build_trainer(mine, tiny_gemma, gemma).lower(batch)

    assert planned.as_text() == taken.as_text()
    assert len(planned.as_text()) > 10_000


def test_the_state_is_counted_and_comes_out_where_it_went_in(
    plan: TrainingPlan, gemma: GemmaConfig
) -> None:
    """Masters and two moments in float32, a counter, and four arrays of 2 x 32."""
    step, weights = plan.step, 4 * gemma.parameters
    assert plan.parameters == plan.trained_parameters == gemma.parameters
    assert step.arguments_bytes == pytest.approx(3 * weights, rel=0.02)
    assert step.aliased_bytes >= 3 * weights
    assert step.temporaries_bytes > 0
    assert step.step_bytes == (
        step.arguments_bytes + step.outputs_bytes - step.aliased_bytes + step.temporaries_bytes
    )
    assert plan.weights_bytes == weights
    assert plan.reading_bytes == 4 * max(leaf.size for leaf in leaves_of(gemma))
    assert (plan.model_bytes, plan.adapter_bytes) == (2 * gemma.parameters, 0)
    assert step.state_bytes_moved == 3 * weights + 2 * step.aliased_bytes


def test_no_product_of_the_step_is_in_float32(plan: TrainingPlan) -> None:
    """Forward and backward, attention included."""
    assert plan.step.float32_products == 0
    assert plan.step.bfloat16_products > 20


def test_the_largest_arrays_are_named(plan: TrainingPlan) -> None:
    """Those of the state by their place in it, the others by the operation that makes them."""
    names = [buffer.name for buffer in plan.step.buffers]
    assert any("state.params.embedding" in name for name in names)
    assert any("dot_general" in name or "fusion" in name for name in names)
    assert all(buffer.size_bytes > 0 for buffer in plan.step.buffers)


def test_the_times_follow_from_the_limits(plan: TrainingPlan) -> None:
    """The larger of what the FLOPs and what the bytes take; a share of the peak takes longer."""
    flops, moved = plan.step.total_flops, plan.step.bytes_moved
    fast = replace(plan, limits=limits(flops_per_s=1e30, bytes_per_s=1e9))
    slow = replace(plan, limits=limits(flops_per_s=1e3, bytes_per_s=1e30, sustained_share=0.5))
    assert fast.roofline_s == fast.sustained_s == moved / 1e9
    assert slow.roofline_s == flops / 1e3
    assert slow.sustained_s == 2 * slow.roofline_s


def test_the_peak_is_that_of_the_largest_phase(plan: TrainingPlan) -> None:
    """By hand: two compiled steps of 5, a compiler of 300, a step of 40 + 60, and so on."""
    step = replace(
        plan.step,
        arguments_bytes=40,
        outputs_bytes=40,
        aliased_bytes=40,
        temporaries_bytes=60,
        compiling_bytes=300,
        compiled_bytes=5,
    )
    small = replace(
        plan,
        step=step,
        limits=limits(device="cpu:cpu"),
        weights_bytes=30,
        reading_bytes=20,
        read_back_bytes=15,
        compilations=2,
    )
    peaks = {phase.phase: phase.peak_bytes for phase in small.phases}
    assert peaks == {"read weights": 1050, "compile": 1345, "steps": 1110, "read back": 1025}
    assert small.peak_bytes == 1345
    # The compiler for a card is in the host's memory.
    card = replace(small, process_bytes=0, limits=limits(device="gpu:NVIDIA"))
    assert [phase.peak_bytes for phase in card.phases] == [50, 40, 100, 15]


def test_the_compiler_is_measured(plan: TrainingPlan) -> None:
    """A compilation takes some mebibytes, and less of it stays; each padded length takes one."""
    assert plan.step.compiling_bytes > 2**20
    assert 0 <= plan.step.compiled_bytes <= plan.step.compiling_bytes
    assert plan.compilations == 3


def test_remat_reads_every_weight_once_more() -> None:
    """Forward, backward, and forward again."""
    assert state_bytes_moved(100, 30, remat=False) == 260
    assert state_bytes_moved(100, 30, remat=True) == 360


@pytest.mark.parametrize(
    ("shape", "rows"),
    [("7,3,{V}", 21), ("{V},{D}", 1), ("2,1,9,{half}", 9), ("2,9,{D}", 1), ("{V}", 1)],
)
def test_rows_of_logits_are_told_from_the_embedding(
    gemma: GemmaConfig, shape: str, rows: int
) -> None:
    """Whole rows or blocks of the vocabulary; [V, D] is none, nor is a hidden state."""
    # The tiny vocabulary is odd: one that has halves stands for it.
    even = replace(gemma, vocab_size=2 * gemma.vocab_size)
    sizes = shape.format(V=even.vocab_size, D=even.d_model, half=gemma.vocab_size)
    text = f"ENTRY %main (a: f32[1]) -> f32[1] {{\n  %a = f32[{sizes}]{{0}} add(%x, %y)\n"
    assert logits_rows(read_module(text), even) == rows


def test_a_dtype_that_is_not_said_is_not_guessed(tmp_path: Path) -> None:
    """Both spellings are read; nothing and a foreign one are refused."""
    path = tmp_path / "config.json"
    path.write_text('{"dtype": "float32"}')
    assert declared_dtype(tmp_path) == np.float32
    path.write_text('{"torch_dtype": "bfloat16"}')
    assert declared_dtype(tmp_path) == jax.numpy.bfloat16
    path.write_text('{"dtype": "float16"}')
    assert declared_dtype(tmp_path) == np.float16
    for text, found in (("{}", "nothing"), ('{"dtype": "float64"}', "'float64'")):
        path.write_text(text)
        with pytest.raises(ModelConfigError, match=f"dtype: found {found}, expected"):
            declared_dtype(tmp_path)


def test_rows_are_counted_without_being_judged(tmp_path: Path) -> None:
    """Blank lines are none; whether a row is good, training says."""
    path = tmp_path / "rows.jsonl"
    assert count_rows(path) == 0
    path.write_text('{"a": 1}\n\nnot JSON\n  \n{}')
    assert count_rows(path) == 3
