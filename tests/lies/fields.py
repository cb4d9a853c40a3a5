"""Every field of every record of a good run, changed: what verify names, and what it cannot.

    python -m tests.lies.fields            # the table, by record, and the fields that stay possible
    python -m tests.lies.fields --write    # the list that the test holds it against, made again

A change keeps the type and is plausible; whoever makes it is thought to write all digests anew, so
that only what the records say of each other is left to name it. A single change is of one field. A
double one changes the same value in another place as well, as somebody would who looks for it.
"""

import copy
import functools
import json
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m43 import typed_json
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify import claims, judged, report
from m43.evidence.verify.agreements import Folder, audit_agreements, rows
from m43.evidence.verify.code import audit_code
from m43.records.run_dir import FILES, RunDir
from m43.rows import answers, overlap
from m43.rows.overlap import KnownPrompts
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.tampering import rechain

LIST = Path(__file__).with_name("unconstrained.txt")
# Statements for other programs, written again from the records and compared byte by byte.
_DERIVED = ("attestation.intoto.json", "provenance.intoto.json", "seal.dsse.json")
_JOURNAL = RunDir.journal.name
# What the chain itself is made of, and what the digests of other files are written into.
_OF_CHAIN = ("seq", "sha256", "previous_sha256")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

Place = tuple[str | int, ...]
"""Where a value stands: keys and indexes from the whole file on, of lines their number first."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of one value of one file, or of the same value in two.

    Where there was none, its type is guessed: a file that cannot be read any more is no lie.
    """

    file: str
    place: Place
    value: object
    also: tuple[str, Place] | None = None
    guessed: bool = False

    @property
    def field(self) -> str:
        """The field, whichever element of a list it stands in."""
        return field_of(self.file, self.place)


def field_of(file: str, place: Place) -> str:
    """Name a field of a file as the list has it."""
    names = [str(part) if isinstance(part, str) else "[]" for part in place]
    if file.endswith(".jsonl"):
        names = names[1:]
    return f"{file}  {'.'.join(names).replace('.[]', '[]')}"


def read(path: Path) -> Any:
    """Read a record, or the lines of one, as plain data."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def write(path: Path, data: Any) -> None:
    """Write it back."""
    dump = typed_json.dump_line
    path.write_text("".join(map(dump, data)) if path.suffix == ".jsonl" else typed_json.dump(data))


def values(data: Any, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Yield the values of a record: of a list the first and the middle one, and its length."""
    if isinstance(data, dict):
        for name, each in data.items():
            yield from values(each, (*place, name))
    elif isinstance(data, list):
        if place:
            yield place, data
        for index in sorted({0, len(data) // 2} if data else set()):
            yield from values(data[index], (*place, index))
    else:
        yield place, data


def changes(value: object) -> tuple[object, ...]:
    """Return what somebody might write in the place of a value: of its type, and plausible."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, 2 * value + 10, max(0, value - 1), 1000 * value + 1000, value // 10**6)
    if isinstance(value, float):
        return (1.5 * value + 0.01, 0.5 * value, -value - 1.0, 1e6 * value + 1e6)
    if isinstance(value, list):
        return (value[:-1], [*value, value[-1]]) if value else (["something"], [1])
    if isinstance(value, str):
        return _texts(value)
    return ("something", 1)


def _texts(value: str) -> tuple[str, ...]:
    if _DIGEST.fullmatch(value):
        return (value[1:] + ("0" if value[0] != "0" else "1"),)
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
        return (f"{int(value[:4]) - 1}{value[4:]}", f"{value[:11]}00:00:01.000Z")
    if re.fullmatch(r"\d+(\.\d+)+", value):
        return (f"{value}9", "99.0.1")
    others = {"production": "rehearsal", "rehearsal": "production", "full": "lora", "http": "xet"}
    return (others.get(value, f"{value}x" if value else "something"),)


def edits(run: RunDir) -> Iterator[Edit]:
    """Yield every single change of a folder's records, and double ones of values that recur."""
    tables = {
        file.name: read(run.path / file.name)
        for file in FILES
        if file.name.endswith((".json", ".jsonl"))
        and file.name not in _DERIVED
        and (run.path / file.name).is_file()
    }
    holders: dict[str, list[tuple[str, Place]]] = defaultdict(list)
    for name, data in tables.items():
        for place, value in values(data):
            holders[repr(value)].append((name, place))
    for name, data in tables.items():
        for place, value in values(data):
            if name == _JOURNAL and place[1:2] and place[1] in _OF_CHAIN:
                continue
            twin = next((each for each in holders[repr(value)] if each[0] != name), None)
            for changed in dict.fromkeys(map(json.dumps, changes(value))):
                if changed != json.dumps(value):
                    new, guessed = json.loads(changed), value is None or value == []
                    yield Edit(file=name, place=place, value=new, guessed=guessed)
            if twin is not None and len(repr(value)) > 3 and value is not None:
                yield Edit(file=name, place=place, value=changes(value)[0], also=twin)


def apply(run: RunDir, edit: Edit) -> Callable[[], None]:
    """Make a change, and return what takes it back."""
    places = [(edit.file, edit.place), *([edit.also] if edit.also else [])]
    before = {run.path / name: (run.path / name).read_bytes() for name, _ in places}
    before[run.journal] = run.journal.read_bytes()
    for name, place in places:
        data = read(run.path / name)
        holder = data
        for part in place[:-1]:
            holder = holder[part]
        holder[place[-1]] = copy.deepcopy(edit.value)
        if name == _JOURNAL:
            rechain(run, data)
        else:
            write(run.path / name, data)

    def restore() -> None:
        for path, data in before.items():
            path.write_bytes(data)

    return restore


def is_named(run: RunDir, *, with_code: bool) -> bool:
    """Tell whether verify names something, seals and what is written from the records apart.

    Those are what is written anew over a change; the rest of `verify` is all here.
    """
    loaded_run = load_run(run)
    found = [
        loaded_run.problems,
        claims.audit_identity(loaded_run),
        claims.audit_ending(run, loaded_run),
        judged.audit_contract(loaded_run, REPOSITORY),
        judged.audit_profile(loaded_run, REPOSITORY),
        claims.audit_ledger(loaded_run.opening, run.path.parent),
        audit_agreements(Folder(run=run, loaded_run=loaded_run, repository=REPOSITORY)),
        judged.audit_scores(run, loaded_run),
        report.audit_junit(run, loaded_run),
        audit_code(run, loaded_run, REPOSITORY) if with_code else (),
    ]
    return any(True for each in found for _ in each)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of the changes of one field.

    Attributes:
        named: how many single changes verify named, of how many.
        doubles: the same of the double ones.
    """

    named: tuple[int, int]
    doubles: tuple[int, int]

    @property
    def state(self) -> str:
        """Whether verify names a change always, beyond a bound, or never."""
        done, of = self.named
        return "held" if done == of else "bounded" if done else "free"


class _Once:
    """The prompts of a file, read once: they are the same for every change."""

    @staticmethod
    def of(prompts: Iterable[str]) -> KnownPrompts:
        """Return the known prompts of these rows."""
        return _known(tuple(prompts))


_known = functools.cache(KnownPrompts.of)


def try_all(run: RunDir, chosen: Callable[[Edit], bool] = lambda edit: True) -> dict[str, Tried]:
    """Make every change, one after the other, and count by field what verify names."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    if is_named(run, with_code=True):
        raise AssertionError("the unchanged run is named")
    for edit in filter(chosen, edits(run)):
        restore = apply(run, edit)
        try:
            if edit.guessed and load_run(run).problems:
                continue
            caught = is_named(run, with_code=edit.file == RunDir.opening.name)
        finally:
            restore()
        count = counts[edit.field]
        first = 2 if edit.also else 0
        count[first] += caught
        count[first + 1] += 1
    return {
        name: Tried(named=(one, of), doubles=(two, pairs))
        for name, (one, of, two, pairs) in counts.items()
    }


def prepare() -> RunDir:
    """Write a good run, and have what every change leaves alone read once."""
    rows.KnownPrompts = _Once  # type: ignore[attr-defined, assignment]
    rows.rows_of = functools.cache(rows.rows_of)
    answers.parse, answers.is_answer = map(functools.cache, (answers.parse, answers.is_answer))
    overlap.form_of = functools.cache(overlap.form_of)
    return write_good_run(Path(tempfile.mkdtemp(prefix="m43-fields-")))


def listed(tried: dict[str, Tried]) -> str:
    """Write the fields of which a change stays possible, and whether within bounds."""
    left = sorted(name for name, each in tried.items() if each.state != "held")
    return "".join(f"{tried[name].state:8} {name}\n" for name in left)


def named_of_constrained(tried: dict[str, Tried]) -> tuple[int, int]:
    """Count the fields that something constrains, and those of them of which a change is named.

    Both from the changes: a field is constrained where its value stands in another file as well,
    or where verify named a change of it.
    """
    constrained = [each for each in tried.values() if each.doubles[1] or each.state != "free"]
    return sum(each.state != "free" for each in constrained), len(constrained)


def shares(tried: dict[str, Tried]) -> Iterator[str]:
    """Write the share that verify names, record by record, and of all together."""
    heads = ("fields", "held", "bound", "free", "single", "double")
    yield f"{'record':28} {' '.join(f'{head:>6}' for head in heads)}"
    files = sorted({name.split("  ")[0] for name in tried})
    for file in (*files, "all"):
        mine = [each for name, each in tried.items() if file in (name.split("  ")[0], "all")]
        states = [each.state for each in mine]
        single, double = (
            _share(getattr(each, kind) for each in mine) for kind in ("named", "doubles")
        )
        counts = " ".join(f"{states.count(state):5}" for state in ("held", "bounded", "free"))
        yield f"{file:28} {len(mine):6} {counts} {single:>7} {double:>7}"
    named, constrained = named_of_constrained(tried)
    share = _share([(named, constrained)])
    yield f"named of the fields that something constrains: {named} of {constrained}, {share}"


def _share(pairs: Iterable[tuple[int, int]]) -> str:
    done, of = (sum(column) for column in zip(*pairs, strict=True))
    return f"{100 * done / of:.0f} %" if of else "-"


def main(arguments: list[str]) -> int:
    """Try all, print the shares and the list; return 1 when the list is not the committed one."""
    run = prepare()
    try:
        tried = try_all(run)
    finally:
        shutil.rmtree(run.path.parent)
    text = listed(tried)
    sys.stdout.write("\n".join(shares(tried)) + f"\n\n{text}")
    if "--write" in arguments:
        LIST.write_text(text, encoding="utf-8")
    return int(text != LIST.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
