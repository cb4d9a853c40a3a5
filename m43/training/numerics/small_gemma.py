"""The small Gemmas: one of each family, what they are fed, and what float64 makes of them.

Weights and tokens are closed forms of integers and exact in bfloat16, so that the device and the
reference begin with the same numbers on every machine and under every version of JAX.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from m43.core import Batch, GemmaConfig, OptimizerSettings
from m43.gemma_families import has_post_norms, has_qk_norm

STEPS = 2
REFERENCE = Path(__file__).with_name("float64.json")
"""What float64 gives. Source: python -m tests.unit.training.float64_steps, in NumPy alone."""


@dataclass(frozen=True, kw_only=True)
class SmallStep:
    """One model and how it is trained."""

    config: GemmaConfig
    optimizer: OptimizerSettings


_GEMMA = GemmaConfig(
    family="gemma",
    layers=2,
    d_model=128,
    d_ff=128,  # as d_model: five of the seven matrices have one shape, so a CPU one set of kernels
    q_heads=4,
    kv_heads=1,
    head_dim=32,
    vocab_size=384,
    norm_eps=1e-6,
    query_scale=32**-0.5,
    rope_theta_global=1e4,
    rope_theta_local=1e4,
    sliding_window=None,
    global_layers=(True, True),
    attention_softcap=None,
    final_softcap=None,
    qk_norm=has_qk_norm("gemma"),
    post_norms=has_post_norms("gemma"),
    max_positions=64,
    pad_id=0,
    bos_id=2,
    eos_ids=(1,),
)

# Caps and windows that the small scores and the short rows feel.
_GEMMA2 = replace(
    _GEMMA,
    family="gemma2",
    kv_heads=2,
    sliding_window=5,
    global_layers=(False, True),
    attention_softcap=2.0,
    final_softcap=3.0,
    post_norms=has_post_norms("gemma2"),
)
_GEMMA3 = replace(
    _GEMMA2,
    family="gemma3_text",
    kv_heads=1,
    rope_theta_global=1e6,
    attention_softcap=None,
    final_softcap=None,
    qk_norm=has_qk_norm("gemma3_text"),
)

_ADAFACTOR = OptimizerSettings(
    name="adafactor",
    learning_rate=2.0**-9,
    warmup_steps=2,
    total_steps=4,
    end_learning_rate_ratio=0.1,
    weight_decay=0.0,
    beta1=0.0,
    beta2=0.8,
    eps=1e-30,
    clip_norm=1.0,
)
_ADAMW = replace(_ADAFACTOR, name="adamw", beta1=0.9, beta2=0.95, eps=1e-8)

SMALL_STEPS = (
    SmallStep(config=_GEMMA, optimizer=_ADAFACTOR),
    SmallStep(config=_GEMMA2, optimizer=_ADAMW),
    SmallStep(config=_GEMMA3, optimizer=_ADAMW),
)


class WeightReference(NamedTuple):
    """What float64 gives for one weight, both layers of it.

    Attributes:
        norm: of the first gradient.
        projections: of the first gradient.
        descent: the first update times the first gradient, summed.
    """

    norm: float
    projections: tuple[float, ...]
    descent: float


class Reference(NamedTuple):
    """What float64 gives for one family."""

    losses_nats: tuple[float, ...]
    weights: Mapping[str, WeightReference]


def read_references() -> Mapping[str, Reference]:
    """Read the stored reference of every family."""
    return {
        family: Reference(
            tuple(told["losses_nats"]),
            {
                name: WeightReference(each["norm"], tuple(each["projections"]), each["descent"])
                for name, each in told["weights"].items()
            },
        )
        for family, told in json.loads(REFERENCE.read_text(encoding="utf-8")).items()
    }


Integers = TypeVar("Integers", jax.Array, np.ndarray)


def hashed(index: Integers, name: str) -> Integers:
    """Return 32 mixed bits for every uint32 of an index, the same everywhere for the same name.

    Source: the finalizer of MurmurHash3, over a multiple of the index.
    """
    bits = index * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ bits >> np.uint32(shift)) * np.uint32(factor)
    return bits ^ bits >> np.uint32(16)


def _bits(name: str, size: int) -> np.ndarray:
    return hashed(np.arange(size, dtype=np.uint32), name)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a weight in float64: 7 bits and a sign, which bfloat16 holds exactly.

    Norms lie within 1/2 of 0, the embedding within 1/4, the matrices of a layer within 1/8.
    """
    whole = (_bits(name, int(np.prod(shape))) % np.uint32(255)).astype(np.float64) - 127.0
    power = -8 if name.endswith("norm") else -9 if name == "embedding" else -10
    return (whole * 2.0**power).reshape(shape)


def signs(name: str, size: int) -> np.ndarray:
    """Return the vectors of signs that a gradient is projected on. Shapes: [8, size].

    The mean square of what the projections of two gradients differ by is an unbiased estimate of
    the square of their distance, so that a reference is a few numbers a weight.

    Source: Achlioptas 2003, Database-friendly random projections.
    """
    bits = _bits(f"{name} signs", size)
    return np.stack([1.0 - 2.0 * (bits >> np.uint32(at) & np.uint32(1)) for at in range(8, 16)])


def batch() -> Batch:
    """Return two rows: one packed of two examples, one of one; both end in padding."""
    rows, length = 2, 32
    lengths = ((17, 12), (29,))
    tokens = np.zeros((rows, length), np.int32)
    positions, segments = tokens.copy(), tokens.copy()
    supervised = np.zeros((rows, length), bool)
    for row, parts in enumerate(lengths):
        start = 0
        for number, size in enumerate(parts, start=1):
            here = (row, slice(start, start + size))
            ids = _bits(f"tokens {row} {number}", size) % np.uint32(_GEMMA.vocab_size - 3)
            tokens[here], positions[here], segments[here] = ids + 3, np.arange(size), number
            supervised[row, start + size // 3 : start + size] = True
            start += size
    return Batch(tokens=tokens, positions=positions, segments=segments, supervised=supervised)
