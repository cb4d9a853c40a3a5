"""What is read out of a compiled step's text."""

import jax
import jax.numpy as jnp
import pytest

from m43.records import Collectives
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


COLLECTIVES = """
HloModule jit_step

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add.1 = f32[] add(%a, %b)
}

%layer (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %gather.1 = bf16[8,8]{1,0} all-gather(%part), replica_groups=[2,2]<=[4], dimensions={0}
  %scatter.1 = f32[2,8]{1,0} reduce-scatter(%sums), replica_groups=mesh['a'=2,'b'=2] {'a','b'}, \
to_apply=%sum
  ROOT %tuple.1 = (s32[], f32[4,8]) tuple(%count, %stream)
}

%chunk (rows: (s32[], f32[6])) -> (s32[], f32[6]) {
  %all.1 = (f32[6], f32[6]) all-reduce(%totals, %targets), replica_groups={{0,1,2,3}}, to_apply=%sum
  ROOT %tuple.2 = (s32[], f32[6]) tuple(%count, %rows)
}

ENTRY %main (weights: f32[4,8]) -> f32[4,8] {
  %while.1 = (s32[], f32[4,8]) while(%start), condition=%more, body=%layer, \
backend_config={"known_trip_count":{"n":"18"}}
  %while.2 = (s32[], f32[6]) while(%begin), condition=%more, body=%chunk
  %all-reduce-start.1 = f32[10]{0} all-reduce-start(%norms), replica_groups={{0,1},{2,3}}, \
to_apply=%sum
  %all-reduce-done.1 = f32[10]{0} all-reduce-done(%all-reduce-start.1)
  %alone.1 = f32[10]{0} all-reduce(%norms), replica_groups={{0},{1},{2},{3}}, to_apply=%sum
  ROOT %out = f32[4,8]{1,0} get-tuple-element(%while.1), index=1
}
"""


def test_collectives_are_counted_with_the_loops_around_them() -> None:
    """In a layer 18 times, once where start and done are apart, apart in the loop over chunks.

    A reduce-scatter counts what it sums, not the share that stays; among one device is nothing.
    """
    found = read_module(COLLECTIVES).collectives()
    assert [
        (each.kind, each.among, each.count, each.size_bytes, each.per_chunk) for each in found
    ] == [
        ("all-gather", 2, 18, 18 * 8 * 8 * 2, False),
        ("all-reduce", 2, 1, 40, False),
        ("all-reduce", 4, 1, 48, True),
        ("reduce-scatter", 4, 18, 18 * 4 * 2 * 8 * 4, False),
    ]


def test_what_a_device_sends_is_that_of_a_ring() -> None:
    """Of 64 bytes among four: 48 to gather or to scatter, twice that to sum, 64 to hand on."""
    sent = {
        kind: Collectives(kind=kind, among=4, count=1, size_bytes=64, per_chunk=False).sent_bytes
        for kind in ("all-gather", "reduce-scatter", "all-reduce", "collective-permute")
    }
    assert sent == {
        "all-gather": 48, "reduce-scatter": 48, "all-reduce": 96, "collective-permute": 64,
    }  # fmt: skip
