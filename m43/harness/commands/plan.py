"""`python -m m43 plan`: what a run would take here, or on a card that is not here, as a page."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import m43
from m43 import typed_json
from m43.errors import FailureClass, M43Error, problem
from m43.evidence.contract import alternatives_words, card_memory_words
from m43.harness.card import look_at_card, share_of
from m43.harness.gates import Answer, PlanChild, ask, ask_by_contract
from m43.harness.process import child_environment
from m43.harness.run import shown
from m43.harness.terminal import EMPTY, Line, labelled, show
from m43.records import (
    MARGIN,
    CardSample,
    MeshTable,
    NoCard,
    PlanRequest,
    Profile,
    TrainingPlan,
    profile_check,
)
from m43.text import ascii_text, duration_words, size_words

_WIDTH = 34


def fits(plan: TrainingPlan) -> bool:
    """Return whether a run stays within the memory, the margin included."""
    return 0 < MARGIN * plan.peak_bytes <= plan.limits.memory_bytes


def plan_page(plan: TrainingPlan, title: str, day: str = "") -> tuple[Line, ...]:
    """Write a plan as lines for a person; `day` says where the free memory is known from."""
    exchange = _exchange(plan) if plan.step.devices > 1 else None
    work = (_memory(plan, day), _buffers(plan), _arithmetic(plan), exchange)
    parts = (*work, _time(plan), _disk(plan))
    lines = (line for part in parts if part is not None for line in (*part, EMPTY))
    return (_title(title), EMPTY, *lines, _verdict(plan))


def _title(text: str) -> Line:
    return Line(tone="title", head=ascii_text(text))


def _row(name: str, value: str) -> Line:
    return labelled(name, value, width=_WIDTH)


def _memory(plan: TrainingPlan, day: str) -> Iterator[Line]:
    step, limits = plan.step, plan.limits
    several = f", each of {step.devices} ({step.mesh})" if step.devices > 1 else ""
    yield _title(f"memory of {limits.device}{several}")
    yield _row("parameters", f"{plan.parameters:,}, of them trained {plan.trained_parameters:,}")
    if plan.multimodal:
        yield _row("of the base, left out", "its vision tower; the text model alone is trained")
    yield _row("arguments", size_words(step.arguments_bytes))
    yield _row("outputs", size_words(step.outputs_bytes))
    yield _row("  aliased (donated) to arguments", size_words(step.aliased_bytes))
    yield _row("temporaries", size_words(step.temporaries_bytes))
    yield _row("the step", size_words(step.step_bytes))
    yield _row("the process beside its arrays", size_words(plan.process_bytes))
    for phase in plan.phases:
        yield _row(f"at most, {phase.phase}", size_words(phase.peak_bytes))
    yield _row("peak", size_words(plan.peak_bytes))
    yield _row(f"peak with a margin of {MARGIN - 1:.0%}", size_words(plan.needed_bytes))
    yield _row("free for a run", f"{size_words(limits.memory_bytes)}{day}")


def _buffers(plan: TrainingPlan) -> Iterator[Line]:
    yield _title("largest arrays (not all exist at once)")
    for buffer in plan.step.buffers:
        yield labelled(f"{size_words(buffer.size_bytes):>12}", buffer.name, width=14)


def _arithmetic(plan: TrainingPlan) -> Iterator[Line]:
    step = plan.step
    yield _title(f"a step of {step.rows} x {step.length} tokens")
    for part in step.flops:
        share = part.flops / step.total_flops
        yield _row(part.part, f"{part.flops / 1e12:.3f} TFLOP ({share:.1%})")
    per_token = step.total_flops / step.positions / 1e9
    total = step.total_flops / 1e12
    yield _row("model FLOPs", f"{total:.3f} TFLOP, {per_token:.2f} GFLOP per token")
    yield _row("bytes moved, at least", size_words(step.bytes_moved))
    products = f"{step.bfloat16_products} of bfloat16, {step.float32_products} of float32 operands"
    yield _row("matrix products", products)
    yield _row("rows of logits at once", str(step.logits_rows))


def _exchange(plan: TrainingPlan) -> Iterator[Line]:
    """Write what devices say to one another in a step."""
    step, rate = plan.step, plan.limits.link_bytes_per_s
    yield _title("collectives of a step, on each device")
    if plan.limits.device.startswith("tpu:"):
        yield _row("not known, and in no time below", "a TPU's program does not tell them")
        return
    for each in step.collectives:
        often = "for each chunk of supervised tokens" if each.per_chunk else "a step"
        sent = f"{each.count} {often}, {size_words(each.sent_bytes)} sent"
        yield _row(f"{each.kind} among {each.among}", sent)
    yield _row("sent in a step, without chunks", size_words(step.sent_bytes))
    if rate:
        bound = f"{plan.exchange_s:.3f} s, at {rate / 1e9:.0f} GB/s each way, which no link exceeds"
    else:
        bound = "not known, and in no time below: nobody told the speed of the link"
    yield _row("time of it, bound", bound)


def _time(plan: TrainingPlan) -> Iterator[Line]:
    step, limits = plan.step, plan.limits
    share, tokens = limits.sustained_share, plan.steps * step.positions
    rates = f"{limits.flops_per_s / 1e12:.2f} TFLOP/s, {limits.bytes_per_s / 1e9:.0f} GB/s"
    yield _title(f"time on {limits.device} ({rates})")
    yield _row("a step, roofline bound", f"{plan.roofline_s:.3f} s")
    yield _row(f"a step at {share:.0%} of the peak FLOP/s", f"{plan.sustained_s:.3f} s")
    yield _row("all steps at that share", duration_words(plan.steps * plan.sustained_s))
    yield _row("steps", str(plan.steps))
    yield _row("tokens, at most", f"{tokens:,}")
    if plan.rows_in_file:
        epochs = plan.rows_used / plan.rows_in_file
        used = f"{epochs:.3g} ({plan.rows_used} of {plan.rows_in_file} rows, unpacked)"
        yield _row("epochs", used)
    yield _row("source", limits.source)


def _disk(plan: TrainingPlan) -> Iterator[Line]:
    yield _title("disk")
    more = ", and those of the vision tower" if plan.multimodal else ""
    yield _row("download, weights alone", f"{size_words(plan.model_bytes)}{more}")
    yield _row("trained model", size_words(plan.model_bytes + plan.adapter_bytes))


def _verdict(plan: TrainingPlan) -> Line:
    if fits(plan):
        return Line(tone="ok", head="It fits.")
    rest = ascii_text(f": {alternatives_words(plan)}")
    return Line(tone="bad", head="IT DOES NOT FIT", rest=rest, indent=2)


HERE = "cpu"
MODELS = Path(m43.__file__).parent / "training" / "plan" / "models"
_PATIENCE_S = 1800.0
# Source: FACTS of deviceless compilation, tried with jax 0.10.2: the plugin must not look for the
# driver of a card that is not there, and autotuning would run kernels on it.
_WITHOUT_A_CARD: Mapping[str, str] = {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "XLA_FLAGS": "--xla_gpu_autotune_level=0",
    "JAX_PLATFORMS": "cpu",
    # libtpu would look for the machine's TPU at an address of Google's cloud.
    "TPU_SKIP_MDS_QUERY": "1",
    # And would let one process at a time have it.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class NoModelConfigError(M43Error):
    """No config.json that the plan could be made from."""

    failure_class = FailureClass.MODEL_INVALID


class NoPlanError(M43Error):
    """A plan that could not be made, in the words of the child that tried."""

    def __init__(self, answer: Answer, card: str) -> None:
        Exception.__init__(self, f"no plan for {card or HERE}: {answer.reason}")
        self.failure_class = answer.failure_class or FailureClass.HARNESS_ERROR  # type: ignore[misc]
        self.problems = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What the child said is whole already: found, expected, where and what to do."""
        return (str(self),)


def plan(
    path: Path,
    model: Path | None,
    target: str,
    repository: Path,
    out: TextIO,
    *,
    as_json: bool,
    mesh: str = "",
) -> int:
    """Make a plan, print it, and return the exit status: 0 it fits, 1 it does not.

    Args:
        path: of the profile.
        model: a folder with the model's config.json, or the name of one that m43 describes; None
            takes the contract's own shapes, or the Hugging Face cache's config.json where the
            contract has none.
        target: "cpu" for this machine, a card's name or file; empty for the contract's device.
        repository: the working tree.
        out: where the plan goes.
        as_json: as a record rather than as a page.
        mesh: another arrangement than the profile's, such as "fsdp=4" or "fsdp=2,tensor=2".

    Raises:
        M43Error: when no plan can be made, with the reason.
    """
    profile = arranged(profile_check.load(path), mesh)
    contract = profile.contract
    wanted = target or (contract.device_kind if contract.platform == "gpu" else HERE)
    card = "" if wanted == HERE else wanted
    who = child_that_plans(repository, with_card=bool(card))
    if model is None and contract.config:
        answer = ask_by_contract(who, profile, card)
    else:
        folder = _cached(profile) if model is None else described(model)
        if not (folder / "config.json").is_file():
            raise _no_config(str(folder), profile)
        request = PlanRequest(profile=profile, config_folder=folder.resolve(), target=card)
        answer = ask(who, request)
    found = answer.training
    if found is None:
        raise NoPlanError(answer, card)
    day = ""
    if card:
        found, day = as_it_is_now(found, look_at_card(os.environ))
    title = f"m43 plan for {shown(path, repository)} ({profile.training.method}) on {wanted}"
    if as_json:
        out.write(typed_json.dump(found))
    else:
        show(plan_page(found, title, day), out)
    return 0 if fits(found) else 1


def described(model: Path) -> Path:
    """Return the folder of a model that m43 describes by its name, such as gemma-3-27b.

    Their config.json say what Google published: of the keys those that the arithmetic needs.
    """
    known = MODELS / model
    return known if str(model) == model.name and known.is_dir() else model


def arranged(profile: Profile, text: str) -> Profile:
    """Return the profile with another mesh, and as many devices as it arranges.

    Raises:
        ProfileError: if the text describes none, or one that does not go with the profile.
    """
    if not text:
        return profile
    sizes = dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)
    known = {axis: int(size) for axis, size in sizes.items() if size.isdigit() and len(size) < 6}
    if not known or len(known) != text.count(",") + 1 or not known.keys() <= {"fsdp", "tensor"}:
        expected = "fsdp=N, tensor=N, or both with a comma between them"
        raise profile_check.ProfileError([problem(repr(text), expected, "--mesh", "correct it")])
    table = MeshTable(**known)
    contract = replace(profile.contract, devices=table.devices)
    found = replace(profile, contract=contract, mesh=table)
    if problems := profile_check.problems_of(found, "--mesh"):
        raise profile_check.ProfileError(problems)
    return found


def as_it_is_now(plan: TrainingPlan, card: CardSample | NoCard) -> tuple[TrainingPlan, str]:
    """Hold the plan against what is free now, where the very card that it is for is here."""
    if isinstance(card, NoCard):
        return plan, f" (of a card on which nothing else is; here: {card.reason})"
    if plan.limits.device != f"gpu:{card.name}":
        return plan, f" (of a card on which nothing else is; here is another: {card.name})"
    memory = share_of(card)
    if not memory.not_told:
        free = int(memory.share * memory.total_bytes)
        plan = replace(plan, limits=replace(plan.limits, memory_bytes=free))
    return plan, card_memory_words(memory)


def child_that_plans(repository: Path, *, with_card: bool) -> PlanChild:
    """Describe the child that is asked, for this machine or for a card that is not here."""
    environment = child_environment(
        os.environ,
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
        expected=f"that of {contract.repo} at {contract.revision}, which the plan is made from",
        where=where,
        action="name a folder that holds it (`python -m m43 plan --model FOLDER`; no weights are "
        "needed), write its shapes under [contract.config], or plan after a first download",
    )
