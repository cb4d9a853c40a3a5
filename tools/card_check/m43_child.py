"""m43's side of what is compared, each part of it told at once.

python -m tools.card_check.m43_child PLACE device|rivals|logits|losses
"""

import gc
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from m43.core import Gemma
from m43.records import Device, LoraTable, profile_check, write_record
from m43.training.data import prepare_training_data
from m43.training.device import memory_bytes
from m43.training.weights import read_model_config, read_weights, stored_dtype
from tests.benchmarks.contenders import m43_answers, m43_steps, write_work
from tests.benchmarks.contenders.training_rows import Assignment
from tests.benchmarks.measured import Answers
from tests.benchmarks.work import Work
from tools.card_check.children import place_of, tell
from tools.card_check.scale import Place, random_tokens

_LORA = LoraTable(rank=16, alpha=32.0)


def device(place: Place) -> None:
    """Tell what JAX computes on."""
    found = jax.devices()[0]
    kind, memory = found.device_kind, memory_bytes(found)
    tell("device", Device(platform=found.platform, kind=kind, memory_bytes=memory))


def rivals(place: Place) -> None:
    """Train fully and with adapters as a lean loop does, and answer as generate does.

    Bfloat16 weights, AdamW and no remat on both sides; production's own steps are in its part.
    """
    began = time.monotonic()
    given = _assignment(place, place.base, place.scale.rival_steps)
    work = write_work.work_of(given)
    # No more prompts than are asked; everybody reads this file.
    work = replace(work, prompts=work.prompts[: place.scale.asked])
    write_record(place.work, work)
    training = replace(given.profile.training, optimizer="adamw", remat=False)
    full = replace(given.profile, training=training)
    lora = replace(full, training=replace(training, method="lora"), lora=_LORA)
    tell("full", m43_steps.take_steps(replace(given, profile=full), "bfloat16", began=began))
    gc.collect()
    tell("lora", m43_steps.take_steps(replace(given, profile=lora), "bfloat16", began=began))
    gc.collect()
    tell("answers", _answers(place.base, work, place.scale.new_tokens))


def _answers(folder: Path, work: Work, new_tokens: int) -> Answers:
    return m43_answers.main(folder, work, new_tokens, stops=False)


def losses(place: Place) -> None:
    """Train the small model as production does, for the losses of some steps."""
    given = _assignment(place, place.small, place.scale.losses)
    tell("losses", m43_steps.take_steps(given, "float32", began=time.monotonic()))


def _assignment(place: Place, folder: Path, steps: int) -> Assignment:
    profile, config = profile_check.load(place.profile), read_model_config(folder)
    contract = replace(profile.contract, optimizer_steps=steps)
    # The steps that are measured shall all be of the same size.
    training = replace(profile.training, warmup_steps=0)
    profile = replace(profile, contract=contract, training=training)
    data = prepare_training_data(profile, folder, config)
    return Assignment(folder=folder, config=config, profile=profile, data=data)


def logits(place: Place) -> None:
    """Write the logits of random tokens in both precisions, for the parent to compare."""
    config = read_model_config(place.base)
    drawn = random_tokens(place.scale.compared, config.vocab_size)
    for precision in ("float32", "bfloat16"):
        compute = jnp.dtype(precision)
        stored = jnp.promote_types(stored_dtype(place.base, config), compute)
        model = read_weights(place.base, config, stored, compute_dtype=compute, remat=False)
        np.save(place.root / f"m43-{precision}.npy", np.asarray(_score(model, jnp.asarray(drawn))))
        tell(precision, list(drawn.shape))
        del model
        gc.collect()


@nnx.jit
def _score(model: Gemma, tokens: jax.Array) -> jax.Array:
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return model.logits(model.hidden(tokens, places, jnp.ones_like(tokens)))


if __name__ == "__main__":
    JOBS = {"device": device, "rivals": rivals, "logits": logits, "losses": losses}
    JOBS[sys.argv[2]](place_of(sys.argv[1]))
