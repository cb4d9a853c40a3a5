"""The flags that XLA is given, each only where the jaxlib at hand knows it.

An unknown flag ends the process that has it, before it could say anything else. Which flags a
jaxlib knows is told nowhere but by trying: a process that is thrown away reads them first.
"""

import functools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from m43.harness.process.isolation import PACKAGES_ALONE

XLA_FLAGS_ON_CPU = "--xla_disable_hlo_passes=while-loop-invariant-code-motion"
"""The CPU backend slices in float32 only. To take one layer out of stacked bfloat16 weights it
converts them, and this pass moves the conversion of all layers in front of the loop: a second
copy of the weights, twice as large, in every step and every decoding.

Source: the HLO of jax 0.10.2; a LoRA step of Gemma 1 2B at 1 x 128 tokens needs 7.7 GiB of
temporaries with the pass and 0.3 GiB without, in less time.
"""

VARIABLE = "XLA_FLAGS"
# Reads the flags and starts no backend, in 0.2 to 0.4 s. Source: parse_flags_from_env.cc of XLA;
# tried with jaxlib 0.10.2, 0.11.2 and 0.12.0.1.
_READ = f"{PACKAGES_ALONE}from jaxlib import xla_client; xla_client.CompileOptions()"
_ANSWERS_WITHIN_S = 20.0


def known_flags(interpreter: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of an environment's XLA_FLAGS that the jaxlib of an interpreter knows.

    Where it cannot be asked, none: there is no jaxlib, or it does not start.
    """
    rest = tuple(sorted((name, text) for name, text in environment.items() if name != VARIABLE))
    flags = environment.get(VARIABLE, "").split()
    return tuple(flag for flag in flags if _is_known(interpreter, flag, rest))


# Asked once for all children of a run: the closing gate finds an environment that was changed.
@functools.cache
def _is_known(interpreter: Path, flag: str, rest: tuple[tuple[str, str], ...]) -> bool:
    try:
        answer = subprocess.run(
            # As isolated as the children, and nothing is written (-B).
            (str(interpreter), "-I", "-S", "-B", "-c", _READ),
            env={**dict(rest), VARIABLE: flag},
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWERS_WITHIN_S,
            check=False,
            # Ctrl-C reaches the parent alone, as with the children themselves.
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
