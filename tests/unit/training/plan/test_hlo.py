"""What is read out of a compiled step's text."""

import jax
import jax.numpy as jnp
import pytest

from m43.training.plan.hlo import read_module

# As jax 0.10.2 prints a step for a GPU, cut down to one line of each kind.
TEXT = """\
HloModule jit_step, is_scheduled=true

%fused_computation.1 (parameter_0.7: bf16[128,2048]) -> f32[128,256000] {
  %parameter_0.7 = bf16[128,2048]{1,0} parameter(0)
  %parameter_1.7 = bf16[256000,2048]{1,0} parameter(1)
  ROOT %dot.111 = f32[128,256000]{1,0} dot(%parameter_0.7, %parameter_1.7), lhs_contracting_dims={1}
}

ENTRY %main.151 (Arg_0.1: f32[18,2048]) -> (f32[18,2048], s8[33554432]) {
  %Arg_0.1 = f32[18,2048]{1,0} parameter(0), metadata={op_name="state.params"}
  %gemm_fusion_dot.38 = f32[128,256000]{1,0} fusion(%a, %b), kind=kCustom, \
calls=%fused_computation.1, metadata={op_name="jit(step)/jvp(BLI,OI->BLO)/dot_general"}
  %both = (f32[4,8]{1,0}, bf16[4]{0}) fusion(%Arg_0.1), kind=kLoop, calls=%fused_computation.1
  %cublas-gemm = (f32[18,18]{1,0}, s8[32]{0}) custom-call(%Arg_0.1, %Arg_0.1), \
custom_call_target="__cublas$lt$matmul"
  %get-tuple-element.1 = f32[18,18]{1,0} get-tuple-element(%cublas-gemm), index=0
  ROOT %tuple = (f32[18,2048]{1,0}) tuple(%Arg_0.1)
}
"""


def test_arrays_in_memory_are_listed_by_size_with_where_they_come_from() -> None:
    """Neither what stays in a fusion's registers nor a second name of the same memory."""
    buffers = read_module(TEXT).buffers()

    assert [(buffer.name, buffer.size_bytes) for buffer in buffers] == [
        ("f32[128,256000] jvp(BLI,OI->BLO)/dot_general", 128 * 256_000 * 4),
        ("f32[18,18] custom-call", 18 * 18 * 4),
        ("f32[4,8] fusion", 128),
        ("s8[32] custom-call", 32),
        ("bf16[4] fusion", 8),
    ]


def test_products_are_counted_by_their_operands_wherever_they_stand() -> None:
    """XLA's own inside a fusion, and a library's."""
    assert read_module(TEXT).products() == {("bf16", "bf16"): 1, ("f32", "f32"): 1}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_compiler_of_this_machine_is_understood(dtype: type) -> None:
    """Text that XLA prints today gives the products that were asked for."""
    shape = jax.ShapeDtypeStruct((64, 64), dtype)

    def twice(one: jax.Array, two: jax.Array) -> jax.Array:
        return jnp.tanh(one @ two.T) @ two

    text = jax.jit(twice).lower(shape, shape).compile().as_text()
    products = read_module(text or "").products()

    assert sum(products.values()) == 2
    # Whatever it does with bfloat16 here, float32 it leaves float32.
    assert dtype is jnp.bfloat16 or set(products) == {("f32", "f32")}
