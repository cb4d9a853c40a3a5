"""Takes the same steps on one device and on meshes of four, and prints what came out.

A process of its own: how many devices a CPU is for JAX is settled before its first computation.
`tests/unit/training/test_mesh.py` starts it once and judges what it says; `test_processes.py`
starts two at once, which share the four devices and take fewer steps, and the first one says it.
"""

import functools
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import jax

DEVICES, PROCESSES = 4, int(os.environ.get("JAX_NUM_PROCESSES", "1"))
jax.config.update("jax_num_cpu_devices", DEVICES // PROCESSES)
if PROCESSES > 1:
    jax.distributed.initialize(
        num_processes=PROCESSES, process_id=int(os.environ["JAX_PROCESS_ID"])
    )

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402
from jaxtyping import PyTree  # noqa: E402

from m43.core import (  # noqa: E402
    AdapterWeight,
    Batch,
    Gemma,
    GemmaConfig,
    LoraSettings,
    OptimizerSettings,
    abstract_gemma,
    add_adapters,
    greedy_decode,
    make_mesh,
    projections,
)
from m43.training import trainer  # noqa: E402
from m43.training.mesh import spread_rows, whole  # noqa: E402
from m43.training.plan.hlo import read_module  # noqa: E402
from tests.unit.fast_compile import compile_fast  # noqa: E402

TARGETS = ("query", "key", "value", "output", "gate", "up", "down")
LOCAL = {"sliding_window": 4, "global_layers": (False, True)}
FAMILIES = {
    "gemma": {},
    "gemma2": {**LOCAL, "kv_heads": 2, "post_norms": True, "attention_softcap": 50.0}
    | {"final_softcap": 30.0},
    "gemma3_text": {**LOCAL, "post_norms": True, "qk_norm": True},
}
MESHES = ((2, 1), (4, 1), (1, 2), (1, 4), (2, 2))
# No multiple of 4: its products are then compiled for one size only.
CHUNK = 6
SPREAD = 0.05
# Of a row; no axis of a weight is as long.
LENGTH = 24
# Adafactor factors the second moments of what has 128 or more on both sides.
SETTINGS = OptimizerSettings(
    name="adafactor", learning_rate=1e-2, warmup_steps=0, total_steps=10,
    end_learning_rate_ratio=0.1, weight_decay=0.1, beta1=0.0, beta2=0.8, eps=1e-30, clip_norm=1.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """One step: which model is trained how, and in how many parts."""

    family: str
    method: str
    accumulate: int

    @property
    def name(self) -> str:
        """As the test calls it."""
        return f"{self.family}-{self.method}-{self.accumulate}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How far a step on a mesh is from that of one device, each relative to the larger."""

    mesh: str
    devices: int
    tokens: int
    tokens_alone: int
    loss: float
    norm: float
    gradient: float
    weights: float
    moved: float
    share: float  # of the bytes of state and frozen weights that lie on one device, at most
    widest: int  # numbers in the largest array that is gathered or summed
    activations: int  # collectives in the layers that move activations rather than weights
    per_chunk: list[list[object]]  # kind, count and bytes of what each chunk of the loss waits for


def config_of(family: str) -> GemmaConfig:
    """Describe a model whose every axis four devices can share."""
    fields = {
        "family": family, "layers": 2, "d_model": 128, "d_ff": 128, "q_heads": 4, "kv_heads": 1,
        "head_dim": 16, "vocab_size": 256, "norm_eps": 1e-6, "query_scale": 16**-0.5,
        "rope_theta_global": 1e4, "rope_theta_local": 1e4, "sliding_window": None,
        "attention_softcap": None, "final_softcap": None, "qk_norm": False, "post_norms": False,
        "max_positions": 64, "pad_id": 0, "bos_id": 2, "eos_ids": (1,),
        "global_layers": (True, True),
    } | FAMILIES[family]  # fmt: skip
    return GemmaConfig(**fields)


def model_of(case: Case) -> Gemma:
    """Fill a float32 model that computes in float32; adapters have learnt something already."""
    model = abstract_gemma(config_of(case.family), jnp.float32, compute_dtype=jnp.float32)
    graphdef, weights = nnx.split(model)
    rng = np.random.default_rng(0)
    filled = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * SPREAD, leaf.dtype), weights
    )
    model = nnx.merge(graphdef, filled)
    if case.method == "lora":
        add_adapters(model, LoraSettings(rank=4, alpha=8.0, targets=TARGETS), seed=1)
        for projection in projections(model).values():
            if projection.adapter is not None:
                b = projection.adapter.b
                b[...] = jnp.asarray(rng.normal(size=b.shape) * SPREAD, jnp.float32)
    return model


def packed_batch() -> Batch:
    """Draw eight rows: two examples packed into each, of other lengths, and padding."""
    rng = np.random.default_rng(3)
    rows, length = 8, LENGTH
    segments, positions = (np.zeros((rows, length), np.int32) for _ in range(2))
    for row in range(rows):
        first, second = 4 + row % 3, 5 + row % 4
        segments[row, :first], segments[row, first : first + second] = 1, 2
        positions[row, :first] = np.arange(first)
        positions[row, first : first + second] = np.arange(second)
    tokens = np.where(segments > 0, rng.integers(3, 256, segments.shape), 0).astype(np.int32)
    supervised = (positions >= 2) & (segments > 0)
    return Batch(tokens=tokens, positions=positions, segments=segments, supervised=supervised)


def remembering(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Keep the gradient beside the optimizer's state, so that one compilation shows both."""

    def update(
        gradient: optax.Updates, state: tuple[PyTree, PyTree], params: optax.Params
    ) -> tuple[optax.Updates, tuple[PyTree, PyTree]]:
        change, after = inner.update(gradient, state[1], params)
        return change, (gradient, after)

    return optax.GradientTransformation(
        lambda params: (jax.tree.map(jnp.zeros_like, params), inner.init(params)), update
    )


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A step that was taken, and the program that took it."""

    metrics: dict[str, float]
    before: PyTree
    gradient: PyTree
    params: PyTree
    share: float
    devices: int
    text: str


def take(case: Case, mesh: tuple[int, int] | None) -> Taken:
    """Take one step."""
    made = None
    if mesh is not None:
        made = make_mesh(jax.devices()[: mesh[0] * mesh[1]], fsdp=mesh[0], tensor=mesh[1])
    built = trainer.build_step(
        model_of(case),
        SETTINGS,
        trained=nnx.Param if case.method == "full" else AdapterWeight,
        accumulate=case.accumulate,
        chunk=CHUNK,
        mesh=made,
    )
    before = jax.tree.map(np.asarray, built.params)
    state, frozen, batch = built.start(), built.start_frozen(), built.spread(packed_batch())
    compiled = built.lower(state, frozen, batch).compile()
    after, metrics = compiled(state, frozen, batch)
    gradient = after.opt_state[0]
    return Taken(
        metrics={name: float(value) for name, value in vars(metrics).items()},
        before=before,
        gradient=jax.tree.map(whole, gradient),
        params=jax.tree.map(whole, after.params),
        share=share_on_one((after, frozen)),
        devices=len({d for a in jax.tree.leaves(after.params) for d in a.devices()}),
        text=compiled.as_text(),
    )


def distance(one: PyTree, two: PyTree) -> float:
    """Return the norm of the difference as a share of the norm, over all arrays."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))
    apart = sum(np.sum((a.astype(np.float64) - b) ** 2) for a, b in pairs)
    return float(np.sqrt(apart / sum(np.sum(b.astype(np.float64) ** 2) for _, b in pairs)))


def share_on_one(arrays: PyTree) -> float:
    """Return the largest share of state and frozen weights that lies on one device."""
    leaves = jax.tree.leaves(arrays)
    on = [sum(s.data.nbytes for a in leaves for s in a.addressable_shards if s.device == d)
          for d in leaves[0].sharding.device_set]  # fmt: skip
    return max(on) / sum(leaf.nbytes for leaf in leaves)


def compared(case: Case, mesh: tuple[int, int], one: Taken, alone: Taken) -> Outcome:
    """Hold a step on a mesh against that of one device."""

    def apart(name: str) -> float:
        return abs(one.metrics[name] / alone.metrics[name] - 1.0)

    return Outcome(
        mesh=f"{mesh[0]}x{mesh[1]}",
        devices=one.devices,
        tokens=int(one.metrics["supervised_tokens"]),
        tokens_alone=int(alone.metrics["supervised_tokens"]),
        loss=apart("loss_sum_nats"),
        norm=apart("gradient_norm"),
        gradient=distance(one.gradient, alone.gradient),
        weights=distance(one.params, alone.params),
        moved=distance(alone.params, alone.before),
        share=one.share,
        widest=widest(one.text),
        activations=activations(one.text, case.accumulate),
        per_chunk=[
            [each.kind, each.count, each.size_bytes]
            for each in read_module(one.text).collectives()
            if each.per_chunk
        ],
    )


def widest(text: str) -> int:
    """Count the numbers of the largest array of any collective."""
    return max(
        math.prod(array.shape)
        for each in read_module(text).instructions
        if each.among > 1
        for array in each.arrays
    )


def activations(text: str, accumulate: int) -> int:
    """Count the collectives of the layers that hold a whole row's positions.

    The layers are the innermost loop: where a step is taken in parts, the look-up of tokens in the
    shared table and its gradient stand in a loop as well.
    """
    depth = 2 if accumulate > 1 else 1
    return sum(
        each.among > 1
        and each.source.count("while/body") >= depth
        and any(LENGTH in array.shape for array in each.arrays)
        for each in read_module(text).instructions
    )


def cases() -> Iterator[tuple[Case, tuple[tuple[int, int], ...]]]:
    """Yield every case with its meshes; accumulated ones on the two that cut the batch most."""
    if PROCESSES > 1:
        for method in ("full", "lora"):
            yield Case(family="gemma", method=method, accumulate=1), ((4, 1), (2, 2))
        return
    for family in FAMILIES:
        for method in ("full", "lora"):
            yield Case(family=family, method=method, accumulate=1), MESHES
    for method in ("full", "lora"):
        yield Case(family="gemma", method=method, accumulate=2), ((4, 1), (2, 2))


def decoded() -> dict[str, object]:
    """Answer eight prompts on one device and on four, which all have all weights."""
    model = model_of(Case(family="gemma2", method="full", accumulate=1))
    rng = np.random.default_rng(1)
    prompts = rng.integers(3, 256, (DEVICES * 2, 6)).astype(np.int32)
    lengths = rng.integers(1, 7, DEVICES * 2).astype(np.int32)
    asked = functools.partial(greedy_decode, max_new_tokens=12, stop_ids=(5, 9, 11, 200))
    alone = asked(model, jnp.asarray(prompts), jnp.asarray(lengths))
    mesh = make_mesh(jax.devices(), fsdp=2, tensor=2)
    graphdef, weights = nnx.split(model)
    everywhere = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
    own = (spread_rows(prompts, mesh), spread_rows(lengths, mesh))
    found = asked(nnx.merge(graphdef, everywhere), *own, mesh=mesh)
    return {
        "tokens_alone": alone[0].tolist(),
        "tokens": whole(found[0]).tolist(),
        "counts": whole(found[1]).tolist(),
        "counts_alone": alone[1].tolist(),
        "devices": len(found[0].devices()),
        "rows_of_a_device": [shard.data.shape[0] for shard in found[0].addressable_shards],
    }


def main() -> None:
    """Print one line of JSON for each case and mesh, and one for the answers."""
    compile_fast()
    if jax.process_index():
        sys.stdout = sys.stderr
    sys.stdout.write(json.dumps({"case": "decoded"} | decoded()) + "\n")
    make = trainer.make_optimizer
    trainer.make_optimizer = lambda settings: remembering(make(settings))
    alone: dict[tuple[str, str], Taken] = {}
    for case, meshes in cases():
        key = (case.family, case.method)
        # Accumulated steps are held against the whole step of one device.
        if key not in alone:
            alone[key] = take(case, None)
        for mesh in meshes:
            outcome = asdict(compared(case, mesh, take(case, mesh), alone[key]))
            sys.stdout.write(json.dumps({"case": case.name} | outcome) + "\n")


if __name__ == "__main__":
    main()
