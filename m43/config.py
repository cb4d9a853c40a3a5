"""The profile: what a run is, read from TOML, completed, checked as a whole, never changed."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from m43.errors import FailureClass, Problem, ProblemsError
from m43.names import is_address, is_folder_name, is_path, is_repository
from m43.toml_file import read_toml
from m43.typed_json import read_table, to_plain

Kind = Literal["production", "rehearsal"]
# Source: transformers 5.23, the Linear layers of GemmaAttention and GemmaMLP.
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

Precision = Literal["float32", "bfloat16"]

# Words that stand for something other than a path, a name or an address.
SELF_VENV = "self"
DEFAULT_ENDPOINT = "default"
LOOPBACK_ENDPOINT = "loopback"
TIME_IN_NAME = "@time"

# Far above what is done, far below what would be allocated or waited for in vain.
_MOST_POSITIONS, _MOST_RANK, _MOST_SEED = 2**24, 2**13, 2**31 - 1
_MOST_AMOUNT, _WEEK_S = 1e30, 7 * 86400.0


class ProfileError(ProblemsError):
    """A profile that cannot be used, with everything that is wrong with it."""

    failure_class = FailureClass.PROFILE_INVALID


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The thresholds that the promises refer to; nothing else reads them to decide."""

    repo: str
    revision: str
    platform: Literal["cpu", "gpu"]
    device_kind: str
    optimizer_steps: int
    epochs_at_most: float
    train_minutes_at_most: float
    eval_rows: int


@dataclass(frozen=True, kw_only=True)
class RunTable:
    """How the run folder is called."""

    name: str


@dataclass(frozen=True, kw_only=True)
class HubTable:
    """Which hub is asked, and for which files of the pinned revision."""

    endpoint: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VenvTable:
    """The virtual environment that trains: a folder, or "self"."""

    path: str


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """The two files of rows."""

    train: Path
    evaluation: Path


@dataclass(frozen=True, kw_only=True)
class TemplateTable:
    """How a row becomes text, and how an answer is taken out of a completion.

    `prompt` may use {prompt}; `completion` may use {steps} and {final_answer}.
    An empty `answer_marker` means that the whole completion is the answer.

    Attributes:
        style: "plain": BOS, prompt, completion, EOS. "chat": the two are the turns of user and
            model in the chat template of the model's folder.
    """

    style: Literal["plain", "chat"]
    prompt: str
    completion: str
    answer_marker: str
    stop_text: str


@dataclass(frozen=True, kw_only=True)
class TrainingTable:
    """How the model is trained; the number of steps stands in the contract.

    Attributes:
        batch_rows: of a step; with packing each holds as many examples as fit.
        sequence_tokens: what no row is longer than.
        packing: whether several examples share a row; none sees another.
        accumulate: into how many parts a step's rows are cut; their gradients add up to the
            same step, and the activations of one part exist at a time.
        seed: of the order of the rows and, with LoRA, of the adapters.
    """

    method: Literal["full", "lora"]
    optimizer: Literal["adamw", "adafactor"]
    batch_rows: int
    sequence_tokens: int
    packing: bool
    accumulate: int
    learning_rate: float
    warmup_steps: int
    end_learning_rate_ratio: float
    weight_decay: float
    clip_norm: float
    remat: bool
    seed: int


@dataclass(frozen=True, kw_only=True)
class LoraTable:
    """Which projections of every layer get an adapter, and of which size.

    Attributes:
        rank: the width of an adapter.
        alpha: its change is scaled by alpha / rank.
    """

    rank: int
    alpha: float
    targets: tuple[Projection, ...] = get_args(Projection)


@dataclass(frozen=True, kw_only=True)
class EvaluationTable:
    """How the rows are decoded.

    Attributes:
        precision: what the models compute in while they answer. In float32 anybody's transformers
            gives the same answers; in bfloat16 every implementation rounds elsewhere.
    """

    batch_rows: int
    prompt_tokens: int
    max_new_tokens: int
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class DeadlineTable:
    """How long each part may take, and how long a child may be silent."""

    probe_s: float
    download_s: float
    train_s: float
    evaluate_s: float
    silence_s: float


@dataclass(frozen=True, kw_only=True)
class DivergenceTable:
    """When training has diverged: it makes the model worse, and waiting would not help.

    The median loss of the last `last_steps` is more than `loss_ratio` times that of the first
    `first_steps`.
    """

    first_steps: int = 5
    last_steps: int = 20
    loss_ratio: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A whole profile. Paths are absolute once `load` has returned it."""

    kind: Kind
    contract: Contract
    run: RunTable
    hub: HubTable
    venv: VenvTable
    data: DataTable
    template: TemplateTable
    training: TrainingTable
    evaluation: EvaluationTable
    deadlines: DeadlineTable
    divergence: DivergenceTable = DivergenceTable()
    lora: LoraTable | None = None  # there exactly when training.method is "lora"


def load(path: Path) -> Profile:
    """Read a profile, make its paths absolute and check it as a whole.

    Raises: ProfileError, with all problems at once.
    """
    data, problems = read_toml(path)
    if problems:
        raise ProfileError(problems)
    profile, problems = read_table(Profile, data, str(path))
    if profile is None:
        raise ProfileError(problems)
    problems = tuple(_problems(profile, str(path)))
    if problems:
        raise ProfileError(problems)
    return _absolute(profile, Path(os.path.realpath(path)).parent)


def digest(path: Path) -> str:
    """Give the SHA-256 of a profile's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(profile: Profile, other: Profile) -> tuple[str, ...]:
    """List the keys in which two profiles differ, as `table.key: this instead of that`."""
    mine, theirs = settings(profile), settings(other)
    # A table that only one of them has is named key by key.
    return tuple(
        f"{key}: {mine.get(key)!r} instead of {theirs.get(key)!r}"
        for key in dict.fromkeys((*mine, *theirs))
        if mine.get(key) != theirs.get(key)
    )


def settings(profile: Profile) -> dict[str, object]:
    """Give every value of a profile under its key, as `table.key`."""
    return _flat(to_plain(profile))


def _flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _absolute(profile: Profile, folder: Path) -> Profile:
    # Not Path.resolve, which raises where links lead in a circle.
    data = DataTable(
        train=Path(os.path.realpath(folder / profile.data.train)),
        evaluation=Path(os.path.realpath(folder / profile.data.evaluation)),
    )
    if profile.venv.path == SELF_VENV:
        return replace(profile, data=data)
    # Not resolved: a virtual environment may itself be a link, and a person knows it by its name.
    venv = VenvTable(path=os.path.normpath(folder / profile.venv.path))
    return replace(profile, data=data, venv=venv)


def _problems(profile: Profile, source: str) -> list[Problem]:
    problems = []
    for key, found, holds, expected in _rules(profile):
        if not holds:
            problems.append(
                Problem(
                    found=repr(found),
                    expected=expected,
                    where=f"{source}, {key}",
                    action="correct the value",
                )
            )
    return problems


_Rule = tuple[str, object, bool, str]
"""The key, what was found under it, whether that holds, and what was expected."""


def _rules(profile: Profile) -> Iterator[_Rule]:
    yield from _contract_rules(profile.contract)
    yield from _name_rules(profile)
    yield from _size_rules(profile)
    yield from _training_rules(profile.training, profile.contract.optimizer_steps)
    yield from _lora_rules(profile.training.method, profile.lora)


def _contract_rules(contract: Contract) -> Iterator[_Rule]:
    steps, revision, epochs = contract.optimizer_steps, contract.revision, contract.epochs_at_most
    hexadecimal = len(revision) == 40 and set(revision) <= set("0123456789abcdef")
    # Source: DESIGN, locked decisions (the contract admits 200 to 500 steps, one epoch).
    yield "contract.optimizer_steps", steps, 200 <= steps <= 500, "200 to 500"
    yield "contract.epochs_at_most", epochs, 0 < epochs <= 1, "above 0, and 1 at most"
    yield "contract.revision", revision, hexadecimal, "a commit of 40 lower-case hex digits"
    yield "contract.repo", contract.repo, is_repository(contract.repo), "owner/name"


def _name_rules(profile: Profile) -> Iterator[_Rule]:
    name, files, template = profile.run.name, profile.hub.files, profile.template
    endpoint, ends = profile.hub.endpoint, (DEFAULT_ENDPOINT, LOOPBACK_ENDPOINT)
    address = endpoint in ends or is_address(endpoint)
    paths = {
        "contract.device_kind": profile.contract.device_kind,
        "venv.path": profile.venv.path,
        "data.train": str(profile.data.train),
        "data.evaluation": str(profile.data.evaluation),
    }
    yield "run.name", name, is_folder_name(name), "a plain folder name"
    expected = '"default", "loopback" or an http address without user and query'
    yield "hub.endpoint", endpoint, address, expected
    yield "hub.files", files, _weights_named(files), "config.json, tokenizer.json and safetensors"
    for key, text in paths.items():
        yield key, text, is_path(text), "a name of printable characters, no longer than a path"
    prompt, completion = template.prompt, template.completion
    yield "template.prompt", prompt, "{prompt}" in prompt, "text with {prompt}"
    answered = "{final_answer}" in completion
    yield "template.completion", completion, answered, "text with {final_answer}"


def _size_rules(profile: Profile) -> Iterator[_Rule]:
    training, evaluation = profile.training, profile.evaluation
    counts = {
        "training.batch_rows": training.batch_rows,
        "training.sequence_tokens": training.sequence_tokens,
        "training.accumulate": training.accumulate,
        "divergence.first_steps": profile.divergence.first_steps,
        "divergence.last_steps": profile.divergence.last_steps,
        "evaluation.batch_rows": evaluation.batch_rows,
        "evaluation.prompt_tokens": evaluation.prompt_tokens,
        "evaluation.max_new_tokens": evaluation.max_new_tokens,
        "contract.eval_rows": profile.contract.eval_rows,
    }
    amounts = {
        "training.learning_rate": training.learning_rate,
        "training.clip_norm": training.clip_norm,
        "contract.train_minutes_at_most": profile.contract.train_minutes_at_most,
    }
    trained = training.batch_rows * training.sequence_tokens
    decoded = evaluation.batch_rows * (evaluation.prompt_tokens + evaluation.max_new_tokens)
    positions = f"at most {_MOST_POSITIONS:,} tokens in one batch"
    for key, count in counts.items():
        yield key, count, count > 0, "a number above 0"
    for key, amount in amounts.items():
        yield key, amount, 0 < amount <= _MOST_AMOUNT, f"a number above 0, {_MOST_AMOUNT} at most"
    for key, seconds in to_plain(profile.deadlines).items():
        yield f"deadlines.{key}", seconds, 0 < seconds <= _WEEK_S, "above 0 s, and a week at most"
    yield "training.batch_rows", trained, trained <= _MOST_POSITIONS, positions
    yield "evaluation.batch_rows", decoded, decoded <= _MOST_POSITIONS, positions


def _training_rules(training: TrainingTable, steps: int) -> Iterator[_Rule]:
    parts, warmup, seed = training.accumulate, training.warmup_steps, training.seed
    ratio, decay = training.end_learning_rate_ratio, training.weight_decay
    # A part of no rows is refused as a number, not as a divisor.
    divides = parts < 1 or training.batch_rows % parts == 0
    yield "training.accumulate", parts, divides, f"a divisor of {training.batch_rows} rows"
    yield "training.warmup_steps", warmup, 0 <= warmup < steps, "0 or more, below the steps"
    yield "training.end_learning_rate_ratio", ratio, 0 <= ratio <= 1, "0 to 1"
    yield "training.weight_decay", decay, 0 <= decay <= _MOST_AMOUNT, "0 or more"
    yield "training.seed", seed, 0 <= seed <= _MOST_SEED, f"0 to {_MOST_SEED}"


def _lora_rules(method: str, lora: LoraTable | None) -> Iterator[_Rule]:
    asked = method == "lora"
    expected = "a table" if asked else 'no table, unless training.method is "lora"'
    yield "lora", lora, asked == (lora is not None), expected
    if lora is not None:
        rank, alpha, targets = lora.rank, lora.alpha, lora.targets
        once = 0 < len(targets) == len(set(targets))
        yield "lora.rank", rank, 0 < rank <= _MOST_RANK, f"above 0, and {_MOST_RANK} at most"
        yield "lora.alpha", alpha, 0 < alpha <= _MOST_AMOUNT, f"above 0, {_MOST_AMOUNT} at most"
        yield "lora.targets", targets, once, "at least one projection, and none twice"


def _weights_named(files: tuple[str, ...]) -> bool:
    plain = all(is_folder_name(name) for name in files) and len(set(files)) == len(files)
    weights = any(name.endswith(".safetensors") for name in files)
    return plain and weights and {"config.json", "tokenizer.json"} <= set(files)
