"""The child's environment: made from a list of what is needed, never from what happens to be set.

A variable that is not named here does not reach a child: no token, no proxy, no XLA_FLAGS that
somebody exported a month ago. Python itself reads none of its own (isolation).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from m43.evidence.journal import holds_secret
from m43.harness.process.xla_flags import VARIABLE, XLA_FLAGS_ON_CPU
from m43.records import Transport

_NAMES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
        "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE",
    }
)  # fmt: skip
_PREFIXES = ("LC_", "CUDA_", "NVIDIA_")
# Names a library that the driver loads into every program: LD_PRELOAD by another name.
# Source: CUPTI documentation, "CUPTI Initialization": CUDA_INJECTION64_PATH.
_INJECTION = "INJECTION"

# Source: FACTS, speed on the CPU: glibc told to keep its memory and to use huge pages; the
# settings are read when a process starts, so only its parent can make them.
_ALLOCATOR: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": "68719476736",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

_OFFLINE: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Otherwise a token file in the home folder would be found.
    "HF_TOKEN_PATH": os.devnull,
    "TOKENIZERS_PARALLELISM": "false",
}

# What vouches for a hub outside; whether it may be asked, and through which proxy.
_OF_OUTSIDE = frozenset(
    {
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    }
)

_GPU: Mapping[str, str] = {"JAX_PLATFORMS": "cuda"}
# Source: jaxlib 0.10.2, xla_client.py; to set the older XLA_PYTHON_CLIENT_MEM_FRACTION as well is
# an error.
_SHARE = "XLA_CLIENT_MEM_FRACTION"
_CPU: Mapping[str, str] = {"JAX_PLATFORMS": "cpu", VARIABLE: XLA_FLAGS_ON_CPU}


# What a launcher, and jax's detection of it in the child, know of the allocation and the network.
# Source: Slurm 22.05 srun(1), without which srun begins an allocation of its own; Open MPI 4.1 and
# 5.0 mpirun(1); PMIx 5; NCCL 2.28; jax 0.10.2; JobSet and Kubeflow Trainer.
_OF_LAUNCHERS = (
    *("SLURM_", "SRUN_", "MUNGE_", "OMPI_", "PRTE_", "PMI_", "PMIX_", "NCCL_", "UCX_", "FI_"),
    *("JAX_COORDINATOR_", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JOB_COMPLETION_INDEX"),
    "M43_CALLS",  # of tools/kubernetes
)


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """What starts a child: nothing but m43, once, or a command, once per process.

    Attributes:
        command: Its words, which the child's follow; none where m43 itself starts it.
        environment: What it is given beside the child's variables, and hands on as it does.
    """

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def words(self, command: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return what is called. Not every launcher hands variables on: so the words have them."""
        if not self.command:
            return command
        variables = (f"{name}={text}" for name, text in sorted(environment.items()))
        return (*self.command, "env", *variables, *command)


ONCE_HERE = Launcher()


def launcher_environment(environment: Mapping[str, str], secrets: Sequence[str]) -> dict[str, str]:
    """Keep what a launcher needs beside what its processes are given; never a secret."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_OF_LAUNCHERS) and not holds_secret(os.fsencode(value), secrets)
    }


def child_environment(
    environment: Mapping[str, str],
    *,
    platform: Literal["cpu", "gpu"],
    system: str,
    parent_pid: int,
    secrets: Sequence[str],
    share: float | None = None,
    launched: bool = False,
) -> dict[str, str]:
    """Make the environment of a child process.

    Args:
        environment: The engineer's variables, from which those on the list are kept.
        platform: Where JAX shall compute; it is told this one and so cannot fall back.
        system: The operating system, as `sys.platform` names it.
        parent_pid: The process whose end the child shall not survive.
        secrets: Texts that no variable may contain in any form, whatever its name; what is
            shaped like a hub token none may either.
        share: Of the card's memory, that JAX takes at once; None where there is no card, or where
            JAX's own three quarters will do.
        launched: Whether a launcher starts it, so that its parent is another process.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _NAMES or (name.startswith(_PREFIXES) and _INJECTION not in name)
    }
    made = {
        **kept,
        **_OFFLINE,
        **(_GPU if platform == "gpu" else _CPU),
        **({_SHARE: f"{share:.4f}"} if share is not None else {}),
        **(_ALLOCATOR if system == "linux" else {}),
        "M43_PARENT_PID": str(parent_pid),
        **({"M43_LAUNCHED": "1"} if launched else {}),
    }
    return {
        name: value for name, value in made.items() if not holds_secret(os.fsencode(value), secrets)
    }


def hub_environment(
    environment: Mapping[str, str],
    *,
    endpoint: str,
    token: str,
    transport: Transport,
    outside: bool,
    parent_pid: int,
) -> dict[str, str]:
    """Make the environment of the child that talks to the hub.

    Args:
        environment: The engineer's variables, from which those on the list are kept.
        endpoint: The one hub that anything in the child may ask by default.
        token: The one that is sent; no other is found.
        transport: How files are moved.
        outside: Whether the hub is elsewhere: what is set for the outside is not for a hub on this
            machine, neither proxies nor offline mode.
        parent_pid: By which the child and what it starts are known, apart from other children of
            the same parent: the checklist has two at once, and ends each with all that is its own.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _NAMES or name.startswith("LC_") or (outside and name.upper() in _OF_OUTSIDE)
    }
    return {
        **kept,
        "HF_TOKEN": token,
        # A token file in the home folder is not looked for.
        "HF_TOKEN_PATH": os.devnull,
        "HF_ENDPOINT": endpoint,
        # Left on, the client asks for a list of agents by itself, and tells what is installed.
        # Source: huggingface_hub 2.4, utils/_detect_agent.py, utils/_headers.py.
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_XET": "1" if transport == "http" else "0",
        # hf_xet repeats by itself, for minutes. Source: hf_xet 1.8.0; with 0 it asked once.
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "0",
        # A store for all caches of a machine, outside the one that was named.
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        **({} if outside else {"NO_PROXY": "*"}),
        "M43_PARENT_PID": f"{parent_pid}-hub",
    }
