"""m43 against its own products: m43_share FOLDER full|lora. Rows packed to 4 x 256 tokens."""

import functools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from m43 import typed_json
from m43.training.plan.flops import flops_per_token
from m43.training.trainer import build_trainer, lora_settings
from tests.benchmarks.contenders.training_rows import Assignment, assign
from tests.benchmarks.measured import Share

TOKENS, STEPS, SIDE = 256, 6, 2048


def main(folder: Path, method: str) -> Share:
    """Take some steps, and between them the same product again and again."""
    given = assign(folder, method=method, steps=STEPS, packed_to=TOKENS)
    data = given.data
    batches = [data.batch(planned) for planned in data.plan]
    trainer = build_trainer(given.profile, folder, given.config, masters=np.dtype(jnp.bfloat16))
    trainer.compile(batches[0])
    shares = []
    for batch in batches:
        start = time.monotonic()
        supervised = int(trainer.step(batch).supervised_tokens)
        step_s = time.monotonic() - start
        shares.append(
            Share(
                step_flop=step_flop(given, supervised),
                step_s=step_s,
                product_flop_per_s=_product_rate(),
            )
        )
    rate = max(share.product_flop_per_s for share in shares)
    best = max(shares[1:], key=lambda share: share.step_flop / share.step_s)
    return Share(step_flop=best.step_flop, step_s=best.step_s, product_flop_per_s=rate)


def step_flop(given: Assignment, supervised: int) -> int:
    """Count the model FLOPs of a step: every part for every position, the head where supervised."""
    table = given.profile.lora
    lora = None if table is None else lora_settings(table)
    positions = given.profile.training.batch_rows * TOKENS
    parts = flops_per_token(given.config, TOKENS, lora)
    tokens = {part.part: supervised if part.part == "head" else positions for part in parts}
    return sum(part.flops * tokens[part.part] for part in parts)


def _product_rate() -> float:
    """Multiply two large bfloat16 matrices into float32, each contracted along its last axis."""
    drawn = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    left, right = jnp.asarray(drawn, jnp.bfloat16)
    into = functools.partial(jnp.einsum, "ik,jk->ij", preferred_element_type=jnp.float32)
    product = jax.jit(into)
    product(left, right).block_until_ready()
    times = []
    for _ in range(5):
        start = time.monotonic()
        product(left, right).block_until_ready()
        times.append(time.monotonic() - start)
    return 2 * SIDE**3 / min(times)


if __name__ == "__main__":
    sys.stdout.write(typed_json.dump_line(main(Path(sys.argv[1]), sys.argv[2])))
