"""Stands in front of m43.training in a copied tree, and does the damage that is written beside it.

The product has no door for this: the copy's `__main__.py` is replaced by this file, and the real
one is called from here as `honest`. `misbehaviour` holds a word and, for some, a step or seconds;
a third word is the number of the one process of several that does it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HOW, STEP, ONLY, *_ = (*Path(__file__).with_name("misbehaviour").read_text().split(), "", "")

# A grandchild that does not listen, and one that has left the child's session as well.
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"


def at_step(harm: Any) -> None:
    """Have the trainer's step number STEP do something else."""
    from m43.training.trainer import Trainer

    honest, count = Trainer.step, [0]

    def step(self: Any, batch: Any) -> Any:
        count[0] += 1
        if count[0] == int(STEP):
            return harm(self, batch, honest)
        return honest(self, batch)

    Trainer.step = step  # type: ignore[method-assign]


def poisoned(**values: float) -> Any:
    """Make a step whose measured numbers are not numbers."""

    def harm(trainer: Any, batch: Any, honest: Any) -> Any:
        from dataclasses import replace

        import jax.numpy as jnp

        metrics = honest(trainer, batch)
        changed = {name: jnp.float32(value) for name, value in values.items()}
        return replace(metrics, finite=jnp.bool_(False), **changed)

    return harm


def poison_weight(trainer: Any, batch: Any, honest: Any) -> Any:
    """Put a NaN into a trained weight, and let the step find out by itself."""
    from dataclasses import replace

    import jax

    leaves, shape = jax.tree.flatten(trainer._state.params)
    leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(float("nan"))
    trainer._state = replace(trainer._state, params=jax.tree.unflatten(shape, leaves))
    return honest(trainer, batch)


def sleep(trainer: Any, batch: Any, honest: Any) -> Any:
    """Wait for something that never comes, as a hung driver does."""
    wait_for_what_never_comes()


def wait_for_what_never_comes() -> None:
    """Stand still, under a name that can be found in a stack."""
    time.sleep(600)


def sleepy(trainer: Any, batch: Any, honest: Any) -> Any:
    """Go on, but at a crawl: every later step takes a second."""
    from m43.training.trainer import Trainer

    def crawl(self: Any, batch: Any) -> Any:
        time.sleep(1.0)
        return honest(self, batch)

    Trainer.step = crawl  # type: ignore[method-assign]
    return honest(trainer, batch)


def dawdle(seconds: float) -> None:
    """Take a moment more for each thing that is told, so that a fast machine can be caught at it.

    A heartbeat is written twice a second, and a toy's training may be over before the second one.
    """
    from m43.training.progress import Heartbeats

    honest = Heartbeats.progress

    def progress(self: Any, done: int, **measured: float) -> None:
        time.sleep(seconds)
        honest(self, done, **measured)

    Heartbeats.progress = progress  # type: ignore[method-assign]


def compile_for_ever() -> None:
    """Give the compiler a program that takes it minutes."""
    from m43.training.trainer import Trainer

    def never_done(self: Any, batch: Any) -> None:
        import jax
        import jax.numpy as jnp

        def huge(x: Any) -> Any:
            for number in range(20000):
                x = jnp.sin(x @ x) + number
            return x

        jax.jit(huge).lower(jnp.ones((8, 8))).compile()

    Trainer.compile = never_done  # type: ignore[method-assign]


def be_stubborn() -> None:
    """Ignore SIGTERM, and have grandchildren that do, one of them in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for apart in (False, True):
        subprocess.Popen([sys.executable, "-c", DEAF], start_new_session=apart)


def fill_memory(trainer: Any, batch: Any, honest: Any) -> Any:
    """Ask the device for more than any machine has."""
    import jax.numpy as jnp

    return (jnp.ones((1 << 23, 1 << 23)) + 1.0).block_until_ready()


def fail(error: Exception) -> Any:
    """Make a step that raises."""

    def harm(trainer: Any, batch: Any, honest: Any) -> Any:
        raise error

    return harm


def main(arguments: Sequence[str]) -> int:
    """Do the damage, then what the honest child does."""
    from m43.training import honest
    from m43.training.child import own_number

    if ONLY and own_number() != int(ONLY):
        return honest.main(arguments)
    os.environ.setdefault("M43_SABOTAGE", HOW)
    job = arguments[0]
    training = job != "probe"
    if training and HOW == "stubborn":
        be_stubborn()
    if training and HOW in ("stubborn", "dawdle"):
        dawdle(float(STEP))
    if training and HOW == "compile":
        compile_for_ever()
    harms = {
        "nan-loss": poisoned(loss_sum_nats=float("nan")),
        "nan-gradient": poisoned(gradient_norm=float("nan")),
        "nan-weight": poison_weight,
        "hang": sleep,
        "crawl": sleepy,
        "memory": fill_memory,
        "raise": fail(RuntimeError("planted")),
        "memory-error": fail(MemoryError("planted")),
    }
    if job == "train" and HOW in harms:
        at_step(harms[HOW])
    if job == "probe" and HOW == "slow-probe":
        time.sleep(float(STEP))
    return honest.main(arguments)
