"""The model FLOPs of a token, against a table of four models and against counting one by one."""

from dataclasses import replace

import pytest

from m43.core.config import GemmaConfig
from m43.core.gemma import LoraSettings
from m43.training.plan.flops import adapter_weights, flops_per_token
from tests.unit.training.gemma_2b import GEMMA_2B

ALL = ("query", "key", "value", "output", "gate", "up", "down")
LORA = LoraSettings(rank=16, alpha=32.0, targets=ALL)
GEMMA2_2B = replace(
    GEMMA_2B, layers=26, d_model=2304, d_ff=9216, kv_heads=4, sliding_window=4096,
    global_layers=(False, True) * 13,
)  # fmt: skip
GEMMA3_1B = replace(
    GEMMA_2B, layers=26, d_model=1152, d_ff=6912, q_heads=4, vocab_size=262_144,
    sliding_window=512, global_layers=((False,) * 5 + (True,)) * 4 + (False, False),
)  # fmt: skip
GEMMA3_270M = replace(
    GEMMA3_1B, layers=18, d_model=640, d_ff=2048, global_layers=((False,) * 5 + (True,)) * 3
)


@pytest.mark.parametrize(
    ("config", "full", "lora", "head"),
    [
        (GEMMA_2B, 15.15, 10.22, 21),
        (GEMMA2_2B, 15.85, 10.69, 23),
        (GEMMA3_1B, 6.08, 4.13, 30),
        (GEMMA3_270M, 1.67, 1.13, 63),
    ],
)
def test_the_table_of_gflops_per_token_at_512_comes_out(
    config: GemmaConfig, full: float, lora: float, head: int
) -> None:
    """Full, LoRA of rank 16, and the head's share of the weights in per cent.

    The table counts the norms as products, which they are not: hence the 0.006.
    """
    parts = flops_per_token(config, 512, None)
    whole = sum(part.flops for part in parts)
    adapted = sum(part.flops for part in flops_per_token(config, 512, LORA))

    assert whole / 1e9 == pytest.approx(full, abs=0.006)
    assert adapted / 1e9 == pytest.approx(lora, abs=0.006)
    by_weights = sum(part.flops for part in parts if part.part != "attention")
    assert 100 * parts[-1].flops / by_weights == pytest.approx(head, abs=0.5)


def test_every_weight_that_multiplies_counts_twice_forward_and_four_times_backward() -> None:
    """The norms are all that is left out of the parameters."""
    flops = {part.part: part.flops for part in flops_per_token(GEMMA_2B, 512, None)}
    norms = GEMMA_2B.d_model * (2 * GEMMA_2B.layers + 1)

    assert sum(flops.values()) - flops["attention"] == 6 * (GEMMA_2B.parameters - norms)


@pytest.mark.parametrize(("length", "window"), [(1, 4), (4, 4), (7, 4), (12, 4), (7, None)])
def test_a_token_sees_what_a_loop_counts(length: int, window: int | None) -> None:
    """Causal, inside the window; two products, each three times with the backward pass."""
    glob = window is None
    config = replace(GEMMA_2B, layers=1, global_layers=(glob,), sliding_window=window)
    pairs = sum(min(place + 1, window or length) for place in range(length))

    (attention,) = (p.flops for p in flops_per_token(config, length, None) if p.part == "attention")

    assert attention == pytest.approx(3 * 2 * 2 * 8 * 256 * pairs / length, abs=1)


def test_adapters_are_counted_as_the_model_makes_them() -> None:
    """The number that a LoRA run of the 2B reports; a target alone counts alone."""
    assert adapter_weights(GEMMA_2B, LORA) == 19_611_648
    alone = replace(LORA, targets=("key",))
    assert adapter_weights(GEMMA_2B, alone) == 18 * 16 * (2048 + 256)
