"""What the check works on, made on the machine from a seed: model folders, rows, and the profile.

python -m tools.card_check.stage PLACE
"""

import hashlib
import json
import random
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from m43.records import profile_check
from m43.rehearsal import TOKENIZER, write_toy_gemma
from m43.training.weights import read_model_config
from tests.benchmarks.random_gemma import CONFIG, write_random_gemma
from tools.card_check.children import place_of, tell
from tools.card_check.scale import SMALL, SWOLLEN, Place, Scale

SEED = 43
# The template's own tokens, BOS, EOS and the spaces between the parts, at most.
_AROUND = 16
# With the steps of each row, so that nearly every position is learnt and the head is at work.
_COMPLETION = " {steps}\n{final_answer}"


def main(place: Place) -> None:
    """Make everything, and tell how many weights the model has."""
    scale = place.scale
    write_model(place.base, {**CONFIG, **scale.shapes})
    write_model(place.small, {**CONFIG, **SMALL})
    write_model(place.swollen, {**CONFIG, **SWOLLEN})
    write_rows(place)
    place.profile.write_text(profile_text(place), encoding="utf-8")
    profile = profile_check.load(place.profile)
    tell("parameters", profile.contract.parameters)


def write_model(folder: Path, config: Mapping[str, object]) -> None:
    """Write random weights, and the toy's tokenizer with names for all ids that it lacks."""
    write_random_gemma(folder, config)
    with tempfile.TemporaryDirectory() as toy:
        write_toy_gemma(Path(toy))
        for name in ("generation_config.json", "tokenizer_config.json"):
            shutil.copyfile(Path(toy) / name, folder / name)
    tokenizer = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    size = config["vocab_size"]
    assert isinstance(size, int)
    vocabulary |= {f"<unused{number}>": number for number in range(len(vocabulary), size)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def write_rows(place: Place) -> None:
    """Write the training rows of the production run."""
    rows = long_rows(place.repository / "acceptance" / "data" / "train.jsonl", place.scale)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    place.rows.write_text(text, encoding="utf-8")


def long_rows(bundled: Path, scale: Scale) -> Iterator[dict[str, Any]]:
    """Lengthen bundled rows, by steps of others, to nearly the longest that a row may be."""
    given = [json.loads(line) for line in bundled.read_text(encoding="utf-8").splitlines()]
    steps = [step["content"] for row in given for step in row["steps"]]
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    # A line end more for each; what stands on either side of one is never a token together.
    lengths = {text: 1 + len(tokenizer.encode(text, add_special_tokens=False)) for text in steps}
    drawn = random.Random(SEED)
    for number in range(scale.steps * scale.batch_rows):
        row = given[number % len(given)]
        answer = row["final_answer"]
        asked = f"Question: {row['prompt']}\nAnswer:"
        left = scale.row_tokens - _AROUND
        left -= sum(len(tokenizer.encode(text).ids) for text in (asked, answer))
        contents: list[str] = []
        while lengths[content := drawn.choice(steps)] <= left:
            contents.append(content)
            left -= lengths[content]
        yield {
            "prompt": row["prompt"],
            "final_answer": answer,
            "steps": [{"i": i, "content": each} for i, each in enumerate(contents or [content])],
        }


def profile_text(place: Place) -> str:
    """Write production's profile with what this machine cannot keep of it, and nothing else."""
    data = place.repository / "acceptance"
    profile = tomllib.loads((data / "production.toml").read_text(encoding="utf-8"))
    scale, config = place.scale, read_model_config(place.base)
    weights = sorted(place.base.glob("*.safetensors"))
    said = json.loads((place.base / "config.json").read_text(encoding="utf-8"))
    contract = profile["contract"] | {
        "revision": revision(config.parameters),
        "parameters": config.parameters,
        "config": {key: said[key] for key in profile["contract"]["config"] if key in said},
        "platform": place.platform,
        "device_kind": place.device_kind,
        "optimizer_steps": scale.steps,
        "file_bytes": {path.name: path.stat().st_size for path in weights},
        "file_sha256": {},
    }
    changed: Mapping[str, Mapping[str, object]] = {
        "contract": contract,
        "hub": {
            "endpoint": place.endpoint,
            "files": sorted(path.name for path in place.base.iterdir()),
        },
        "venv": {"path": sys.prefix},
        "data": {"train": str(place.rows), "evaluation": str(data / "data" / "eval_v2.jsonl")},
        "template": {"completion": _COMPLETION},
        "training": {"batch_rows": scale.batch_rows, "sequence_tokens": scale.row_tokens},
        "evaluation": {
            "prompt_tokens": scale.prompt_tokens,
            "max_new_tokens": scale.new_tokens,
        },
    }
    return toml({name: {**table, **changed.get(name, {})} for name, table in _tables(profile)})


def _tables(profile: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the tables of a profile; what stands above them as a table without a name."""
    yield "", {name: value for name, value in profile.items() if not isinstance(value, dict)}
    yield from ((name, value) for name, value in profile.items() if isinstance(value, dict))


def revision(parameters: int) -> str:
    """Make a commit for the folder, of what its bytes follow from."""
    return hashlib.sha1(f"{SEED} {parameters}".encode(), usedforsecurity=False).hexdigest()


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    r"""Write tables as TOML: JSON's words for text, numbers and lists are TOML's as well.

    Example:
        >>> toml({"": {"kind": "production"}, "a": {"x": [1, True], "b": {"c.d": 2}}})
        'kind = "production"\n\n[a]\n"x" = [1, true]\n\n[a.b]\n"c.d" = 2\n'
    """
    text = ""
    for name, table in tables.items():
        inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
        flat = {key: value for key, value in table.items() if key not in inner}
        text += f"\n[{name}]\n" if name else ""
        keys = flat if not name else {json.dumps(key): value for key, value in flat.items()}
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        text += toml({f"{name}.{key}": value for key, value in inner.items()})
    return text


if __name__ == "__main__":
    main(place_of(sys.argv[1]))
