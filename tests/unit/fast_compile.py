"""Compile toys quickly: XLA without its optimiser, for a whole test process."""

import jax
import jax.numpy as jnp
import pytest

FAST_COMPILE = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""Toys are compiled far longer than they run: this compiles them 8 times faster."""


def compile_fast() -> None:
    """Have XLA read the flags at its first compilation; children of the tests must not see them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XLA_FLAGS", FAST_COMPILE)
        jax.jit(lambda: jnp.zeros(()))()
