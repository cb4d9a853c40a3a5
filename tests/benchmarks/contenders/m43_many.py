"""m43 trains alone or as one of several: m43_many FOLDER COMPILED PROCESSES bfloat16|float32.

Full fine-tuning with float32 masters; products are computed in the dtype that is named. Several
processes are one device each, share the model (fsdp), meet as a run's processes do, and keep each
to a core of its own. Afterwards the collectives of a step are counted in the compiled
program, and as many bytes of each are exchanged with nothing else to do.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from m43 import typed_json
from tests.benchmarks.measured import Exchanged, Joint

if TYPE_CHECKING:
    import jax
    from jax.sharding import Mesh

    from m43.errors import M43Error
    from m43.records import Profile
    from m43.training.trainer import Trainer
    from tests.benchmarks.contenders.training_rows import Assignment

WITHIN_S = 300.0
REPEATS = 4


def main(folder: Path, compiled: Path, processes: int, compute: str) -> Joint:
    """Take the steps, with others or without."""
    began = time.monotonic()
    if processes > 1:
        # Before JAX is there: it makes as many threads as it finds cores.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(os.environ["JAX_PROCESS_ID"]) % len(cores)]})
    import jax.numpy as jnp

    from m43.records import profile_check
    from m43.training import meeting
    from m43.training import trainer as training
    from m43.training.device import keep_compiled
    from tests.benchmarks.contenders.m43_steps import train
    from tests.benchmarks.contenders.training_rows import PROFILE, assign

    keep_compiled(compiled)
    if processes > 1:
        meeting.join(shared(profile_check.load(PROFILE), processes), give_up)
    given = assign(folder)
    given = replace(given, profile=shared(given.profile, processes))
    # As a run's processes do; where there is one, it agrees with itself.
    facts = {
        "profile_sha256": hashlib.sha256(typed_json.dump(given.profile).encode()).hexdigest(),
        "train_rows_sha256": given.data.file.sha256,
    }
    meeting.require_alike("facts", facts, WITHIN_S)
    if compute == "float32":
        training.read_weights = functools.partial(training.read_weights, compute_dtype=jnp.float32)
    trainer = training.build_trainer(given.profile, given.folder, given.config)
    steps = train(trainer, given.data, began=began)
    return Joint(
        steps=steps,
        lengths=tuple(planned.length for planned in given.data.plan),
        exchanged=exchanged(trainer, given, steps.supervised_tokens) if processes > 1 else (),
    )


def shared(profile: Profile, processes: int) -> Profile:
    """Have the model shared by so many processes."""
    from m43.records.profile import MeshTable

    contract = replace(profile.contract, devices=processes, processes=processes)
    return replace(profile, contract=contract, mesh=MeshTable(fsdp=processes))


def give_up(error: M43Error) -> None:
    """End where the others have not come: JAX waits in a call that does not return."""
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    os._exit(3)


def exchanged(
    trainer: Trainer, given: Assignment, supervised: tuple[int, ...]
) -> tuple[Exchanged, ...]:
    """Count the collectives of the commonest step, and time each kind and size by itself."""
    from m43.training.mesh import mesh_of
    from m43.training.plan.hlo import read_module
    from m43.training.trainer import CHUNK

    lengths = [planned.length for planned in given.data.plan]
    number = lengths.index(max(lengths, key=lengths.count))
    chunks = -(-supervised[number] // CHUNK)
    batch = given.data.batch(given.data.plan[number])
    module = read_module(trainer.lower(batch).compile().as_text())
    mesh = mesh_of(given.profile, given.config)
    assert mesh is not None
    counts: dict[tuple[str, int], int] = {}
    for size in sorted({sum(a.size_bytes for a in i.arrays) for i in module.instructions}):
        some = tuple(
            each
            for each in module.instructions
            if each.among == 1 or sum(array.size_bytes for array in each.arrays) == size
        )
        for each in replace(module, instructions=some).collectives():
            key = each.kind, each.size_bytes // each.count
            counts[key] = counts.get(key, 0) + each.count * (chunks if each.per_chunk else 1)
    return tuple(
        Exchanged(kind=kind, count=count, each_bytes=size, alone_s=alone_s(mesh, kind, size))
        for (kind, size), count in counts.items()
    )


def alone_s(mesh: Mesh, kind: str, size_bytes: int) -> float:
    """Time one collective over a whole array of float32 of so many bytes; the fastest counts."""
    import jax
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from m43.core import FSDP

    devices = mesh.size
    of_all = -(-size_bytes // (4 * devices)) * devices
    # What is gathered is a share on each device; of what is summed, each has a whole.
    size = of_all if kind == "all-gather" else of_all * devices
    by_device = PartitionSpec(FSDP)
    values = jax.make_array_from_callback(
        (size,),
        NamedSharding(mesh, by_device),
        lambda index: np.ones(len(range(*index[0].indices(size))), np.float32),
    )
    program = jax.jit(
        jax.shard_map(
            collectives(devices)[kind],
            mesh=mesh,
            in_specs=by_device,
            out_specs=PartitionSpec() if kind in ("all-gather", "all-reduce") else by_device,
            check_vma=False,
        )
    )
    jax.block_until_ready(program(values))
    times = []
    for _ in range(REPEATS):
        start = time.monotonic()
        jax.block_until_ready(program(values))
        times.append(time.monotonic() - start)
    return min(times)


def collectives(devices: int) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
    """Return what each kind does with a device's part."""
    from jax import lax

    from m43.core import FSDP

    ring = [(number, (number + 1) % devices) for number in range(devices)]
    return {
        "all-gather": lambda part: lax.all_gather(part, FSDP, tiled=True),
        "all-reduce": lambda part: lax.psum(part, FSDP),
        "reduce-scatter": lambda part: lax.psum_scatter(part, FSDP, tiled=True),
        "all-to-all": lambda part: lax.all_to_all(part, FSDP, 0, 0, tiled=True),
        "collective-permute": lambda part: lax.ppermute(part, FSDP, ring),
    }


if __name__ == "__main__":
    processes = int(sys.argv[3])
    found = main(Path(sys.argv[1]), Path(sys.argv[2]), processes, sys.argv[4])
    if processes > 1:
        from m43.training.meeting import leave

        leave(WITHIN_S)
    sys.stdout.write(typed_json.dump_line(found))
