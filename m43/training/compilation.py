"""The compilation cache: programs that an earlier rehearsal on this machine compiled."""

from pathlib import Path

import jax
from huggingface_hub import constants

from m43.profile import LOOPBACK_ENDPOINT, Profile

_FOLDER = "m43-compiled"


def compiled_folder(profile: Profile) -> Path | None:
    """Say where a run finds and leaves compiled programs, if it does.

    In the Hugging Face cache, the only place outside its own folder that a run writes to. The key
    of a program is the program itself, its options, JAX's version and the machine, so that an old
    one is never taken for a new one. But whoever can write there decides what a later run executes.
    A production run is evidence, so it executes only what it compiled itself, from the sources
    whose digests it records; that costs it half a minute. The loopback hub's cache is thrown away
    with the hub.
    """
    if profile.kind == "production" or profile.hub.endpoint == LOOPBACK_ENDPOINT:
        return None
    return Path(constants.HF_HOME) / _FOLDER


def keep_compiled(folder: Path) -> None:
    """Look for programs in a folder before compiling, and leave there what took a second."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    # A file that is cut off or unreadable is compiled again rather than told of as a failure.
    jax.config.update("jax_raise_persistent_cache_errors", False)
    # XLA's own caches beside it are for GPUs, and would be written to paths of their own.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
