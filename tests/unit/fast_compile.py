"""Compile toys quickly: XLA without its optimiser, for a whole test process."""

import functools
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from m43.harness.process.xla_flags import VARIABLE, known_flags

FUSION = "xla_cpu_use_fusion_emitters"
FAST_COMPILE = f"--xla_backend_optimization_level=0 --{FUSION}=false"
"""Toys are compiled far longer than they run: this compiles them 8 times faster with jaxlib 0.10,
3 times with those that do not know the second flag."""


@functools.cache
def fast_flags() -> tuple[str, ...]:
    """Return those of the flags that this environment's jaxlib knows."""
    return known_flags(Path(sys.executable), {**os.environ, VARIABLE: FAST_COMPILE})


def compile_fast() -> None:
    """Have XLA read the flags at its first compilation; children of the tests must not see them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(VARIABLE, " ".join(fast_flags()))
        jax.jit(lambda: jnp.zeros(()))()
