"""The profile's file: read from TOML, completed, and checked as a whole, key by key."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from m43.errors import FailureClass, Problem, ProblemsError
from m43.gemma_families import ARCHITECTURES, SHAPES, count_parameters, family_of, uneven_sizes
from m43.records.profile import (
    DEFAULT_ENDPOINT,
    LOOPBACK_ENDPOINT,
    SELF_VENV,
    Contract,
    LoraTable,
    Profile,
    TrainingTable,
    VenvTable,
)
from m43.text import clipped, is_address, is_folder_name, is_path, is_repository, is_weight_file
from m43.typed_json import read_table, read_toml, to_plain

# Far above what is done, far below what would be allocated or waited for in vain.
_MOST_POSITIONS, _MOST_RANK, _MOST_SEED = 2**24, 2**13, 2**31 - 1
_MOST_STEPS = 10**6
_MOST_AMOUNT, _WEEK_S = 1e30, 7 * 86400.0
_HEX = frozenset("0123456789abcdef")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


def problems_of(profile: Profile, source: str) -> list[Problem]:
    """Name every value of a profile that breaks a rule, with the key it stands under.

    Args:
        profile: As it was read.
        source: Where it was read from.
    """
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
    yield from _model_rules(profile.contract, profile.hub.files)
    yield from _name_rules(profile)
    yield from _size_rules(profile)
    yield from _training_rules(profile.training, profile.contract.optimizer_steps)
    yield from _lora_rules(profile.training.method, profile.lora)
    yield from _mesh_rules(profile)
    yield from _column_rules(profile)
    yield from _launch_rules(profile)


def _contract_rules(contract: Contract) -> Iterator[_Rule]:
    steps, revision, epochs = contract.optimizer_steps, contract.revision, contract.epochs_at_most
    hexadecimal = len(revision) == 40 and set(revision) <= _HEX
    name = contract.name
    expected = "a name of small letters, digits and underscores that begins with a letter"
    yield "contract.name", name, _NAME.fullmatch(name) is not None, expected
    yield "contract.optimizer_steps", steps, 0 < steps <= _MOST_STEPS, "1 to 1,000,000"
    yield "contract.epochs_at_most", epochs, 0 < epochs <= 1000, "above 0, and 1000 at most"
    yield "contract.revision", revision, hexadecimal, "a commit of 40 lower-case hex digits"
    yield "contract.repo", contract.repo, is_repository(contract.repo), "owner/name"


def _model_rules(contract: Contract, files: tuple[str, ...]) -> Iterator[_Rule]:
    """Ask what the model is, and of every file of weights how large it is: none is left open."""
    families, architecture = tuple(ARCHITECTURES.values()), contract.architecture
    expected = f"one of {', '.join(families)}, as config.json says"
    yield "contract.architecture", architecture, architecture in families, expected
    yield "contract.parameters", contract.parameters, contract.parameters > 0, "a number above 0"
    for name in filter(is_weight_file, files):
        if name not in contract.file_bytes:
            expected = f"the size in bytes of {clipped(name, 80)}, a file of hub.files"
            yield "contract.file_bytes", "nothing", False, expected
    for name, size in contract.file_bytes.items():
        key = f"contract.file_bytes.{clipped(name, 80)}"
        weights = name in files and is_weight_file(name)
        yield key, name, weights, "the name of a safetensors file of hub.files"
        yield key, size, size > 0, "a size above 0"
    for name, digest in contract.file_sha256.items():
        key = f"contract.file_sha256.{clipped(name, 80)}"
        hexadecimal = len(digest) == 64 and set(digest) <= _HEX
        yield key, name, name in files, "the name of a file of hub.files"
        yield key, digest, hexadecimal, "a SHA-256 of 64 lower-case hex digits"
    if contract.config and architecture in families:
        yield from _config_rules(contract)


def _config_rules(contract: Contract) -> Iterator[_Rule]:
    """Hold the shapes against each other: they make the number of parameters."""
    shapes: dict[str, int] = {}
    for size, name in SHAPES.items():
        found = contract.config.get(name, "nothing")
        whole = isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**31
        yield f"contract.config.{name}", found, whole, "a whole number above 0, as config.json says"
        if isinstance(found, int) and whole:
            shapes[size] = found
    if len(shapes) == len(SHAPES):
        family = family_of(contract.architecture)
        counted = count_parameters(**shapes, family=family)
        expected = f"{counted}, which the shapes of contract.config make"
        yield "contract.parameters", contract.parameters, contract.parameters == counted, expected


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


def _mesh_rules(profile: Profile) -> Iterator[_Rule]:
    """Ask that the devices are those of the mesh, and that each gets an equal share of all."""
    mesh, contract, training = profile.mesh, profile.contract, profile.training
    positive = min(mesh.fsdp, mesh.tensor) > 0
    yield "mesh.fsdp", mesh.fsdp, mesh.fsdp > 0, "a number above 0"
    yield "mesh.tensor", mesh.tensor, mesh.tensor > 0, "a number above 0"
    if not positive:
        return
    expected = f"{mesh.devices}, which mesh.fsdp x mesh.tensor makes"
    yield "contract.devices", contract.devices, contract.devices == mesh.devices, expected
    rows = training.batch_rows // max(1, training.accumulate)
    expected = f"a multiple of mesh.fsdp, {mesh.fsdp}, in each part that training.accumulate makes"
    yield "training.batch_rows", training.batch_rows, rows % mesh.fsdp == 0, expected
    sizes = {size: found for size, name in SHAPES.items()
             if isinstance(found := contract.config.get(name), int)}  # fmt: skip
    for size, parts in uneven_sizes(sizes, mesh.fsdp, mesh.tensor):
        expected = f"a multiple of {parts}, so that the mesh ({mesh}) can share it evenly"
        yield f"contract.config.{SHAPES[size]}", sizes[size], False, expected


def _column_rules(profile: Profile) -> Iterator[_Rule]:
    """Ask of each file whose columns are named that they are all that its rows need."""
    columns, completion = profile.data.columns, profile.template.completion
    files = (("train", columns.train), ("evaluation", columns.evaluation))
    for key, table in ((f"data.columns.{name}", table) for name, table in files if table):
        names, pair = table.names, None not in (table.prompt, table.answer)
        half = pair or table.prompt == table.answer
        whole = half and pair == (table.messages is None) and all(map(is_path, names))
        yield key, names, whole, "prompt and answer, or messages, each a column's name"
        yield key, names, len(set(names)) == len(names), "each column named once"
    if columns.train is not None:
        table = columns.train
        apart = {table.id, table.section, table.category, table.difficulty}
        expected = "no id, section, category or difficulty: evaluation rows alone have them"
        yield "data.columns.train", table.names, apart == {None}, expected
        expected = "no {steps}, which rows of data.columns.train have not"
        yield "template.completion", completion, "{steps}" not in completion, expected


def _launch_rules(profile: Profile) -> Iterator[_Rule]:
    """Ask for a launcher exactly where there are several processes, with as many devices each."""
    launch, contract = profile.launch, profile.contract
    processes, devices = contract.processes, contract.devices
    yield "contract.processes", processes, processes > 0, "a number above 0"
    if processes < 1:
        return
    shared = devices % processes == 0
    yield "contract.processes", processes, shared, f"a divisor of contract.devices, {devices}"
    expected = "the words of a launcher" if processes > 1 else "none, for one process"
    asked = (processes > 1) == bool(launch.command)
    yield "launch.command", launch.command, asked, expected
    words = all(launch.command) and not any("\0" in word for word in launch.command)
    yield "launch.command", launch.command, words, "words, none of them empty"
    for key, seconds in {"meet_s": launch.meet_s, "heartbeat_s": launch.heartbeat_s}.items():
        yield f"launch.{key}", seconds, 1 <= seconds <= _WEEK_S, "1 s or more, and a week at most"


def _weights_named(files: tuple[str, ...]) -> bool:
    plain = all(is_folder_name(name) for name in files) and len(set(files)) == len(files)
    weights = any(map(is_weight_file, files))
    return plain and weights and {"config.json", "tokenizer.json"} <= set(files)


class ProfileError(ProblemsError):
    """A profile that cannot be used, with everything that is wrong with it."""

    failure_class = FailureClass.PROFILE_INVALID


def load(path: Path) -> Profile:
    """Read a profile, make its paths absolute and check it as a whole.

    Raises: ProfileError, with all problems at once.
    """
    data, problems = _read(path)
    if problems:
        raise ProfileError(problems)
    profile, problems = read_table(Profile, data, str(path))
    if profile is None:
        raise ProfileError(problems)
    problems = tuple(problems_of(profile, str(path)))
    if problems:
        raise ProfileError(problems)
    return _absolute(profile, Path(os.path.realpath(path)).parent)


def _read(path: Path) -> tuple[object, tuple[Problem, ...]]:
    """Read a profile's tables over those of the one that it names as its base.

    A value takes the place of a value, a table below a table that of the whole table; a base has
    none itself.
    """
    data, problems = read_toml(path)
    if problems or not isinstance(data, dict) or not isinstance(data.get("base"), str):
        return data, problems
    base_path = path.resolve().parent / data.pop("base")
    base, problems = read_toml(base_path)
    if problems or not isinstance(base, dict):
        return base, problems
    for table, keys in (("data", ("train", "evaluation")), ("venv", ("path",))):
        for key in keys:
            value = base.get(table, {}).get(key)
            # Written from the base on; from here on it would lead elsewhere.
            if isinstance(value, str) and value != SELF_VENV:
                base[table][key] = os.path.normpath(base_path.parent / value)
    both = [name for name in data if isinstance(data[name], dict) and name in base]
    return base | data | {name: base[name] | data[name] for name in both}, ()


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
    data = replace(
        profile.data,
        train=Path(os.path.realpath(folder / profile.data.train)),
        evaluation=Path(os.path.realpath(folder / profile.data.evaluation)),
    )
    if profile.venv.path == SELF_VENV:
        return replace(profile, data=data)
    # Not resolved: a virtual environment may itself be a link, and a person knows it by its name.
    venv = VenvTable(path=os.path.normpath(folder / profile.venv.path))
    return replace(profile, data=data, venv=venv)
