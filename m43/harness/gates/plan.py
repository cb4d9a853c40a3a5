"""The plan as the venv gate makes it: a child compiles the step, before a weight is fetched."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from m43 import typed_json
from m43.errors import FailureClass
from m43.evidence.contract import package
from m43.evidence.diagnosis import process_class
from m43.evidence.failures import COMPILING, recognise
from m43.files import read_whole
from m43.gemma_families import ACTIVATION, family_of, text_part
from m43.harness.card import card_memory
from m43.harness.gates import download
from m43.harness.gates.venv import compiled_python, find_interpreter, venv_folder
from m43.harness.process import (
    TRAINING,
    Child,
    Outcome,
    Sight,
    child_environment,
    own_code,
    run_child,
)
from m43.harness.run import HubAccess
from m43.records import (
    EVIDENCE_BYTES,
    SELF_VENV,
    AuthRecord,
    CardMemory,
    ChildError,
    ConfigValue,
    Contract,
    Disk,
    PlanRecord,
    PlanRequest,
    Profile,
    RunDir,
    TrainingPlan,
    VenvRecord,
    write_record,
)
from m43.text import brief, duration_words, read_text

_TAIL_LINES = 8
_MOST_CONFIG_BYTES = 1 << 24
# All that this child does with a device.
_COMPILED: Mapping[str, Any] = {"last_phase": COMPILING, "ended_by_parent": "no"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the plan child said."""

    training: TrainingPlan | None
    reason: str
    failure_class: FailureClass | None


@dataclass(frozen=True, kw_only=True)
class PlanChild:
    """Who is asked for a plan, and how.

    Attributes:
        interpreter: of the environment that compiles.
        environment: of the child, whole.
        deadline_s: after which what was said so far has to do.
        compiled: as in `OwnCode.command`.
    """

    interpreter: Path
    environment: Mapping[str, str] = field(repr=False)
    repository: Path
    deadline_s: float
    secrets: tuple[str, ...] = field(default=(), repr=False)
    compiled: Path | None = None


def measure(
    hub_access: HubAccess,
    profile: Profile,
    auth: AuthRecord | None,
    venv: VenvRecord,
    *,
    run_folder: Path,
    repository: Path,
    see: Callable[[Sight], None] = lambda sight: None,
    config_cache: Path | None = None,
) -> PlanRecord:
    """Plan the run: its memory and time by a child, its disk from what the hub said.

    Of the model only config.json is fetched for it, some kilobytes, checked against its pin; into
    `config_cache` where nothing may be left in the Hugging Face cache. Where the hub has said
    nothing (`auth` is None), the contract has to do, and nothing is fetched.

    Raises:
        GateStoppedError: when the hub does not give config.json, or another one.
    """
    begun = time.monotonic()
    answer, config = _unable(venv), None
    memory = card_memory(hub_access.environment, profile.contract)
    if answer is None:
        # A look without a run leaves no folder of one.
        compiled = compiled_python(RunDir(run_folder), profile) if config_cache is None else None
        who = _own_child(hub_access, profile, repository, memory, compiled)
        if auth is None:
            answer = ask_by_contract(who, profile, see=see)
        else:
            place = (
                hub_access if config_cache is None else replace(hub_access, cache_dir=config_cache)
            )
            config = download.fetch_config(place, profile, auth, see)
            folder = config.path.parent
            answer = ask(who, PlanRequest(profile=profile, config_folder=folder, target=""), see)
    contract = profile.contract
    sizes = contract.file_bytes if auth is None else {f.name: f.size_bytes for f in auth.files}
    wanted = download.bytes_to_fetch(hub_access, profile, sizes)
    cache, run = _disks(hub_access.cache, run_folder, wanted, answer.training)
    return PlanRecord(
        reason=answer.reason,
        failure_class=answer.failure_class,
        training=answer.training,
        config=config.found if config is not None else None,
        config_bytes_moved=config.bytes_moved if config is not None else 0,
        download_bytes=wanted,
        cache=cache,
        run=run,
        duration_s=time.monotonic() - begun,
        config_values=read_values(config.path, contract) if config is not None else {},
        card_memory=memory,
    )


def read_values(path: Path, contract: Contract) -> dict[str, ConfigValue]:
    """Read what config.json says of the text model under the keys that the contract names.

    What is no table has none of them; the child, which reads all of it, says what is wrong.
    """
    try:
        data = typed_json.read_json(read_text(read_whole(path, _MOST_CONFIG_BYTES)))
    except (OSError, ValueError):
        data = None
    table = text_part(data) if isinstance(data, dict) else {}
    return {key: _recorded(table[key]) for key in contract.config if key in table}


def _recorded(value: object) -> ConfigValue:
    # A whole number of more than 64 bits would be no number in the record either.
    plain = isinstance(value, ConfigValue) and not (isinstance(value, int) and abs(value) >> 63)
    return cast("ConfigValue", value) if plain else brief(value)


def _unable(venv: VenvRecord) -> Answer | None:
    """Say why an environment cannot plan; None if it can. What is wrong stands in its record."""
    if venv.probe.import_error or not venv.probe.default_device:
        reason = "the environment could not compute (venv.json)"
        return Answer(training=None, reason=reason, failure_class=FailureClass.BROKEN_VENV)
    return None


def _own_child(
    hub_access: HubAccess,
    profile: Profile,
    repository: Path,
    memory: CardMemory | None,
    compiled: Path | None,
) -> PlanChild:
    own = profile.venv.path == SELF_VENV
    return PlanChild(
        interpreter=find_interpreter(venv_folder(profile), own=own),
        # That of the training: the same allocator, the same flags of the compiler.
        environment=child_environment(
            hub_access.environment,
            platform=profile.contract.platform,
            system=sys.platform,
            parent_pid=os.getpid(),
            secrets=hub_access.secrets,
            share=memory.share if memory is not None else None,
        ),
        repository=repository,
        deadline_s=profile.deadlines.probe_s,
        secrets=hub_access.secrets,
        compiled=compiled,
    )


def ask(
    who: PlanChild, request: PlanRequest, see: Callable[[Sight], None] = lambda sight: None
) -> Answer:
    """Let a child, which `see` is shown, make a plan; whatever becomes of it is an answer."""
    with tempfile.TemporaryDirectory(prefix="m43-plan-") as folder:
        path = Path(folder) / "request.json"
        write_record(path, request)
        code = own_code(package(who.repository).parent)
        child = Child(
            command=code.command(
                who.interpreter, TRAINING, "plan", str(path), compiled=who.compiled
            ),
            given=code.handed,
            folder=who.repository,
            environment=who.environment,
            log=Path(folder) / "plan.log",
            deadline_s=who.deadline_s,
            secrets=who.secrets,
        )
        return read_answer(run_child(child, see))


def ask_by_contract(
    who: PlanChild,
    profile: Profile,
    target: str = "",
    see: Callable[[Sight], None] = lambda sight: None,
) -> Answer:
    """Let a child plan for the model that the contract describes, before anything is fetched."""
    contract = profile.contract
    of_family = {"model_type": family_of(contract.architecture), "hidden_activation": ACTIVATION}
    with tempfile.TemporaryDirectory(prefix="m43-contract-") as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({**of_family, **contract.config}), encoding="utf-8")
        request = PlanRequest(profile=profile, config_folder=Path(folder), target=target)
        answer = ask(who, request, see)
    # A person knows the contract, and not the file that was made of it for a moment.
    return replace(answer, reason=answer.reason.replace(str(path), "the profile's contract.config"))


def read_answer(outcome: Outcome) -> Answer:
    """Take the plan, or why there is none, out of what the child printed.

    A plan that was printed stands also when the child was ended while it looked for alternatives.
    """
    lines = [line for line in outcome.stdout if line.strip()]
    for line in reversed(lines):
        plan, _ = typed_json.parse(TrainingPlan, line, "the plan child's line")
        if plan is not None:
            return Answer(training=plan, reason="", failure_class=None)
    error, _ = typed_json.parse(ChildError, lines[-1] if lines else "", "the plan child's line")
    if error is not None:
        reason = " | ".join(error.problems)
        named = process_class(replace(outcome.record, **_COMPILED), error)
        return Answer(training=None, reason=reason, failure_class=named or error.failure_class)
    record = outcome.record
    tail = " | ".join(line.strip() for line in outcome.stderr[-_TAIL_LINES:] if line.strip())
    reason = f"the plan child ended with status {record.exit_status} and said: {tail or 'nothing'}"
    failure_class = recognise(outcome.stderr, phase=COMPILING) or FailureClass.BROKEN_VENV
    if record.ended_by_parent != "no":
        reason = f"no plan after {duration_words(record.duration_s, whole=True)}"
        failure_class = FailureClass.TIMED_OUT
    return Answer(training=None, reason=reason, failure_class=failure_class)


def _disks(
    cache: Path, run: Path, download_bytes: int, plan: TrainingPlan | None
) -> tuple[Disk, Disk]:
    """Say what the two places need; on one disk each needs what both need together."""
    saved = (plan.model_bytes + plan.adapter_bytes if plan is not None else 0) + EVIDENCE_BYTES
    cache, run = _existing(cache), _existing(run)
    shared = cache.stat().st_dev == run.stat().st_dev
    return (
        Disk(
            folder=str(cache),
            needed_bytes=download_bytes + (saved if shared else 0),
            free_bytes=shutil.disk_usage(cache).free,
        ),
        Disk(
            folder=str(run),
            needed_bytes=saved + (download_bytes if shared else 0),
            free_bytes=shutil.disk_usage(run).free,
        ),
    )


def _existing(folder: Path) -> Path:
    """Give the folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
