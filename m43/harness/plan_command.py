"""`python -m m43 plan`: what a run would take here, or on a card that is not here."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from m43 import config, typed_json
from m43.errors import FailureClass, GateStoppedError, M43Error
from m43.evidence.plan_page import fits, plan_page
from m43.harness.child_environment import child_environment
from m43.harness.opening import shown
from m43.harness.plan import PlanChild, ask
from m43.plan_record import PlanRequest
from m43.profile import Profile

HERE = "cpu"
_PATIENCE_S = 1800.0
# Source: FACTS of deviceless compilation, tried with jax 0.10.2: the plugin must not look for the
# driver of a card that is not there, and autotuning would run kernels on it.
_WITHOUT_A_CARD: Mapping[str, str] = {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "XLA_FLAGS": "--xla_gpu_autotune_level=0",
    "JAX_PLATFORMS": "cpu",
}


class NoModelConfigError(M43Error):
    """No config.json that the plan could be made from."""

    failure_class = FailureClass.MODEL_INVALID


def plan(
    path: Path, model: Path | None, target: str, repository: Path, out: TextIO, *, as_json: bool
) -> int:
    """Make a plan, print it, and give the exit status: 0 it fits, 1 it does not.

    Args:
        path: of the profile.
        model: a folder with the model's config.json; None looks into the Hugging Face cache.
        target: "cpu" for this machine, a card's name or file; empty for the contract's device.
        repository: the working tree.
        out: where the plan goes.
        as_json: as a record rather than as a page.

    Raises:
        M43Error: when no plan can be made, with the reason.
    """
    profile = config.load(path)
    contract = profile.contract
    wanted = target or (contract.device_kind if contract.platform == "gpu" else HERE)
    folder = model if model is not None else _cached(profile)
    if not (folder / "config.json").is_file():
        raise _no_config(str(folder), profile)
    card = "" if wanted == HERE else wanted
    request = PlanRequest(profile=profile, config_folder=folder.resolve(), target=card)
    answer = ask(child_that_plans(repository, with_card=bool(card)), request)
    found = answer.training
    if found is None:
        raise GateStoppedError(
            answer.failure_class or FailureClass.HARNESS_ERROR,
            found=answer.reason,
            expected="a plan",
            where=f"{shown(path, repository)} for {wanted}",
            action="read the reason",
        )
    title = f"m43 plan for {shown(path, repository)} ({profile.training.method}) on {wanted}"
    out.write(typed_json.dump(found) if as_json else plan_page(found, title))
    return 0 if fits(found) else 1


def child_that_plans(repository: Path, *, with_card: bool) -> PlanChild:
    """Describe the child that is asked, for this machine or for a card that is not here."""
    environment = child_environment(
        os.environ,
        repository=repository,
        platform="cpu",
        system=sys.platform,
        parent_pid=os.getpid(),
        secrets=(),
    )
    return PlanChild(
        # This very environment: the compiler for cards comes from an extra, and nothing else here
        # needs it.
        interpreter=Path(sys.executable),
        environment={**environment, **(_WITHOUT_A_CARD if with_card else {})},
        repository=repository,
        deadline_s=_PATIENCE_S,
    )


def _cached(profile: Profile) -> Path:
    from huggingface_hub import try_to_load_from_cache

    contract = profile.contract
    path = try_to_load_from_cache(contract.repo, "config.json", revision=contract.revision)
    if not isinstance(path, str):
        raise _no_config("the Hugging Face cache", profile)
    return Path(path).parent


def _no_config(where: str, profile: Profile) -> NoModelConfigError:
    contract = profile.contract
    return NoModelConfigError(
        found="no config.json",
        expected=f"that of {contract.repo} at {contract.revision}",
        where=where,
        action="give a folder that holds it with --model; the weights are not needed",
    )
