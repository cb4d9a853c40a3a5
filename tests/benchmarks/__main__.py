"""python -m tests.benchmarks: m43 and its rivals on the same work, in one run.

    M43_GEMMA_270M=FOLDER make bench

Writes the table to the terminal and, with the machine, to a Markdown file for the notes, and
everything that was measured to a JSON file. Contenders of
one line take turns, each is run as often as `ROUNDS` says, and of every step the fastest counts.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from m43.records.run_dir import write_record
from tests.benchmarks.bars import Found, Line, Trainings, lines
from tests.benchmarks.children import Contender, ContenderError, Home, run
from tests.benchmarks.machine import Machine, machine
from tests.benchmarks.measured import Answers, Depth, Share, Start, Steps, Tuned, Written
from tests.benchmarks.table import render
from tests.benchmarks.work import STEPS

FOLDER = "M43_GEMMA_270M"
ROUNDS = 2
"""How often the fast contenders are run; the slow ones, as shipped, and Tunix run once."""

# Added up from single runs of every contender on two cores of Zen 5.
EXPECTED = (
    "about 25 minutes on two cores, 32 processes one after the other; leave the machine alone"
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is written as JSON."""

    machine: Machine
    lines: tuple[Line, ...]
    holds: tuple[bool | None, ...]
    found: Found


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the model lies, and what is made for this run only."""

    model: Path
    work: Path
    tuned: Path
    compiled: Path


def main(environment: Mapping[str, str], arguments: list[str]) -> int:
    """Measure, print, write; the status is 1 where a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    out = parser.parse_args(arguments).out
    try:
        model = _model(environment)
        sys.stderr.write(f"{EXPECTED}\n")
        with tempfile.TemporaryDirectory(prefix="m43-bench-") as scratch:
            found = measure(_places(model, Path(scratch)))
    except ContenderError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    table, here = lines(found), machine()
    write_record(
        out,
        Report(machine=here, lines=table, holds=tuple(line.holds for line in table), found=found),
    )
    out.with_suffix(".md").write_text(f"{here.sentence}\n\n{render(table)}", encoding="utf-8")
    sys.stdout.write(render(table))
    return 0 if all(line.holds is not False for line in table) else 1


def _model(environment: Mapping[str, str]) -> Path:
    folder = Path(environment.get(FOLDER, ""))
    if FOLDER in environment and (folder / "model.safetensors").exists():
        return folder.resolve()
    raise ContenderError(
        found=f"no model.safetensors in {folder}" if FOLDER in environment else "nothing",
        expected="a folder of google/gemma-3-270m: config.json, model.safetensors, tokenizer.json",
        where=f"the variable {FOLDER}",
        action=f"fetch the model once and type {FOLDER}=FOLDER make bench",
    )


def _places(model: Path, scratch: Path) -> Places:
    return Places(
        model=model,
        work=scratch / "work.json",
        tuned=scratch / "tuned",
        compiled=scratch / "compiled",
    )


def measure(places: Places) -> Found:
    """Run every contender."""
    _prepare(places)
    full, lora = _trainings(places, "full"), _trainings(places, "lora")
    masters, packed = _own_steps(places)
    free, free_generate = _decodings(places.model, places.work, "64", "free")
    stops, stops_generate = _decodings(places.tuned, places.work, "128", "stops")
    starts = [run(_m43("m43_start", places.model, places.compiled), Start) for _ in range(2)]
    shallow, deep = (run(_m43("m43_depth", places.model, count), Depth) for count in (9, 18))
    return Found(
        full=full,
        lora=lora,
        float32_masters=masters,
        packed=packed,
        full_share=run(_m43("m43_share", places.model, "full"), Share),
        lora_share=run(_m43("m43_share", places.model, "lora"), Share),
        free=free,
        free_generate=free_generate,
        stops=stops,
        stops_generate=stops_generate,
        cold=starts[0],
        second=starts[1],
        shallow=shallow,
        deep=deep,
    )


def _prepare(places: Places) -> None:
    run(_m43("write_work", places.model, places.work), Written)
    run(_m43("m43_tuned", places.model, places.tuned), Tuned)


def _trainings(places: Places, method: str) -> Trainings:
    """Let everybody train; who is run twice is not run twice in a row."""
    own = _m43("m43_steps", places.model, method, "bfloat16", STEPS)
    lean = _rival("torch", "torch_lean", places, method)
    trl = _rival("torch", "trl_sft", places, method)
    rounds = [(run(own, Steps), run(lean, Steps)) for _ in range(ROUNDS)]
    trl_told = run(trl, Steps)
    trl_shipped = run(_rival("torch", "trl_sft", places, method, told=False), Steps)
    tunix = run(_rival("tunix", "tunix_peft", places, method, told=False), Steps)
    return Trainings(
        m43=tuple(ours for ours, _ in rounds),
        lean_told=tuple(theirs for _, theirs in rounds),
        trl_told=(trl_told,),
        trl_shipped=(trl_shipped,),
        tunix=(tunix,),
    )


def _own_steps(places: Places) -> tuple[tuple[Steps, ...], tuple[Steps, ...]]:
    """Train with float32 masters, padded and packed."""
    padded = _m43("m43_steps", places.model, "full", "float32", STEPS)
    packed = _m43("m43_steps", places.model, "full", "float32", 5, 512)
    return (run(padded, Steps),), (run(packed, Steps),)


def _decodings(
    model: Path, work: Path, tokens: str, ends: str
) -> tuple[tuple[Answers, ...], tuple[Answers, ...]]:
    given = (str(model), str(work), tokens, ends)
    own = Contender(script="m43_answers", arguments=given)
    generate = Contender(script="torch_generate", arguments=given, home="torch")
    rounds = [(run(own, Answers), run(generate, Answers)) for _ in range(ROUNDS)]
    return tuple(ours for ours, _ in rounds), tuple(theirs for _, theirs in rounds)


def _m43(script: str, *arguments: object) -> Contender:
    return Contender(script=script, arguments=tuple(map(str, arguments)))


def _rival(home: Home, script: str, places: Places, method: str, *, told: bool = True) -> Contender:
    arguments = (str(places.model), str(places.work), method)
    return Contender(script=script, arguments=arguments, home=home, told=told)


if __name__ == "__main__":
    sys.exit(main(os.environ, sys.argv[1:]))
