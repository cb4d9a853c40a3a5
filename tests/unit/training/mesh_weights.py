"""Reads model folders onto a mesh of four devices, writes them again, and prints what came out.

A process of its own, as `mesh_steps` is: `test_mesh_weights.py` starts it alone, and two at once,
which share the four devices; the first one speaks. With the word "lost" the last of them ends in
the middle of writing.
"""

import functools
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from m43.core import Gemma, LoraSettings, add_adapters, make_mesh, projections, shardings
from m43.rehearsal.toy_gemma import write_toy_gemma
from m43.training.meeting import ProcessesMissingError, told_by_all
from m43.training.mesh import shared
from m43.training.weights import read_write, safetensors_file, shares
from m43.training.weights.config_json import read_model_config
from tests.unit.fast_compile import compile_fast

# Its import settles the devices, and has the processes meet.
from tests.unit.training.mesh_steps import PROCESSES, SPREAD, TARGETS
from tests.unit.training.weights.test_multimodal import write_base

FSDP, TENSOR = 2, 2
TOGETHER = functools.partial(told_by_all, within_s=60.0)
# As a run has it: there is nobody to be met where one process is all.
MEET = functools.partial(TOGETHER, text="") if PROCESSES > 1 else None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A folder, read in the dtypes of its files and written again."""

    name: str
    source: str
    dtype: type | None = None
    lora: bool = False


CASES = (
    Case(name="untouched", source="toy"),
    Case(name="float16", source="toy", dtype=np.float16),
    Case(name="float32", source="toy", dtype=np.float32),
    Case(name="lora", source="toy", lora=True),
    Case(name="lora-float32", source="toy", dtype=np.float32, lora=True),
    Case(name="multimodal", source="multimodal"),
)


class Counted:
    """Stands before a function that moves bytes between arrays and files, and counts them."""

    def __init__(self) -> None:
        self.read = self.written = 0

    def read_into(self, target: np.ndarray, *rest: object) -> None:
        """Count what is read in the dtype of the arrays."""
        self.read += target.nbytes
        safetensors_file.read_into(target, *rest)

    def write_at(self, descriptor: int, data: memoryview, first_byte: int) -> None:
        """Count what is written."""
        self.written += len(data)
        WRITE_AT(descriptor, data, first_byte)


WRITE_AT = shares.write_at


@contextmanager
def folder_of_all() -> Iterator[Path]:
    """Give a folder that the first process made, until all are done with it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(TOGETHER("folder", name)[0])
        TOGETHER("done", "")


def learnt(model: Gemma) -> Gemma:
    """Give a model adapters that change something."""
    add_adapters(model, LoraSettings(rank=4, alpha=8.0, targets=TARGETS), seed=1)
    rng = np.random.default_rng(0)
    for projection in projections(model).values():
        if projection.adapter is not None:
            b = projection.adapter.b
            b[...] = jnp.asarray(rng.normal(size=b.shape) * SPREAD, jnp.float32)
    return model


def digests(folder: Path) -> dict[str, str]:
    """Digest every file of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def written(case: Case, within: Path) -> dict[str, object]:
    """Read and write one case, by all devices of all processes, and by one device alone."""
    names = (case.source, f"{case.name}-alone", f"{case.name}-together")
    source, alone, together = (within / name for name in names)
    mesh = make_mesh(jax.devices(), fsdp=FSDP, tensor=TENSOR)
    config, counted = read_model_config(source), Counted()
    read_write.read_into, shares.write_at = counted.read_into, counted.write_at
    model = read_write.read_weights(source, config, None, placed=shared(mesh))
    read_write.read_into = safetensors_file.read_into
    own = read_write.read_weights(source, config, None)
    leaves = jax.tree.leaves(nnx.state(model))
    held = sum(each.data.nbytes for leaf in leaves for each in leaf.addressable_shards)
    arrays = read_write.model_digest(model, source)
    if case.lora:
        model, own = learnt(model), learnt(own)
        graphdef, state = nnx.split(model)
        model = nnx.merge(graphdef, jax.device_put(state, shardings(state, mesh)))
    read_write.write_weights(model, together, source=source, dtype=case.dtype, meet=MEET)
    told = TOGETHER(f"{case.name} counted", str(counted.written))
    if not jax.process_index():
        read_write.write_weights(own, alone, source=source, dtype=case.dtype)
    found = {
        "source": read_write.weights_digest(source),
        "arrays": arrays,
        "written": read_write.weights_digest(together),
        "read": counted.read,
        "shares": held,
        "whole": sum(leaf.nbytes for leaf in leaves),
        "bytes_written": [int(text) for text in told],
        "bytes_of_tensors": sum(
            tensor.size_bytes
            for path in together.glob("*.safetensors")
            for tensor in shares._begun(path).tensors
        ),
    }
    if not jax.process_index():
        found["as_alone"] = digests(alone) == digests(together)
    return found


def lost(within: Path) -> None:
    """Have the last process end at its hundredth run of bytes, and say what the first leaves."""
    count = itertools.count()

    def write_at(descriptor: int, data: memoryview, first_byte: int) -> None:
        if jax.process_index() == PROCESSES - 1 and next(count) == 100:
            os._exit(0)
        WRITE_AT(descriptor, data, first_byte)

    shares.write_at = write_at
    mesh = make_mesh(jax.devices(), fsdp=FSDP, tensor=TENSOR)
    source, out = within / "toy", within / "model"
    model = read_write.read_weights(source, read_model_config(source), None, placed=shared(mesh))
    meet = functools.partial(told_by_all, text="", within_s=3.0)
    try:
        read_write.write_weights(model, out, source=source, meet=meet)
    except ProcessesMissingError as error:
        left = sorted(path.name for path in within.iterdir())
        sys.stdout.write(json.dumps({"left": left, "found": error.problems[0].found}) + "\n")
        sys.stdout.flush()
        shutil.rmtree(within)
    # Python's end would wait for the process that was lost.
    os._exit(0)


def main() -> None:
    """Print one line of JSON for each case."""
    compile_fast()
    with folder_of_all() as within:
        if not jax.process_index():
            write_toy_gemma(within / "toy")
            write_base(within / "multimodal")
        TOGETHER("sources", "")
        if "lost" in sys.argv:
            lost(within)
        for case in CASES:
            line = json.dumps({"case": case.name} | written(case, within))
            if not jax.process_index():
                sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
