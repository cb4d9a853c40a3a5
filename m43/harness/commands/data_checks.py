"""The checks of the data: the rows without the model's tokenizer, and the plan of the venv gate.

What takes the tokenizer (BOS, terminator, lengths, padding) is looked at by the training child
with the pinned one, before its first step; here it is only said.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from m43.errors import FailureClass, GateStoppedError, Problem
from m43.evidence.contract import (
    MODEL_DESCRIBED,
    auth_checks,
    failing,
    plan_checks,
    venv_checks,
)
from m43.harness.gates import plan
from m43.harness.run import HubAccess, Item, item_of, note, runs_folder, unchecked
from m43.records import LOOPBACK_ENDPOINT, AuthRecord, ColumnsTable, Profile, VenvRecord
from m43.rows import (
    Answered,
    KnownPrompts,
    Row,
    RowsError,
    count_forms,
    count_repeats,
    is_parquet,
    question_problems,
    read_columns,
    training_problems,
)

_MOST_SHOWN = 3
_CORRECT = "correct these rows or take them out"


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of rows as far as it could be read."""

    rows: tuple[Row, ...]
    lines: int  # the bad ones included; 0 of what is no file of rows at all
    marked: bool
    problems: tuple[Problem, ...]


def training_items(profile: Profile) -> tuple[Item, ...]:
    """Check the training rows as text."""
    data = profile.data
    if _left_to_the_gate(data.train):
        return (_at_the_gate("every training row can be read", _PARQUET), _tokens())
    file = _read(data.train, data.columns.train, training_problems)
    fields = _fields("prompt, final_answer and steps", data.columns.train)
    readable = _readable("every training row can be read", file, fields)
    enough = _enough(profile, file)
    if file.problems:
        return (readable, enough, _unknown("repeated training rows"), _tokens())
    repeats = count_repeats(
        Answered(prompt=str(row.fields["prompt"]), answer=str(row.fields["final_answer"]))
        for row in file.rows
    )
    found = (
        f"{repeats.duplicates} with the answer of an earlier row, "
        f"{repeats.contradictions} with another answer"
    )
    expected = "none: a repeated row is learnt twice, a contradiction cannot be learnt"
    return (readable, enough, note("repeated training rows", found, expected), _tokens())


def evaluation_items(profile: Profile) -> tuple[Item, ...]:
    """Check the evaluation rows as text, and what training has of them."""
    data = profile.data
    if _left_to_the_gate(data.evaluation):
        return (_at_the_gate("every evaluation row can be read", _PARQUET),)
    file = _read(data.evaluation, data.columns.evaluation, question_problems)
    fields = _fields("id, prompt, expected_answer and its group", data.columns.evaluation)
    fields += ", no id twice"
    promised = profile.contract.eval_rows
    items = (
        _readable("every evaluation row can be read", file, fields),
        _as_promised(file, promised),
    )
    compared = ("rows that training also has", "forms of the answers")
    if _left_to_the_gate(data.train):
        return (*items, *(_at_the_gate(name, _PARQUET) for name in compared))
    trained = _read(data.train, data.columns.train, training_problems)
    if file.problems or trained.problems:
        return (*items, *map(_unknown, compared))
    return (*items, _known(file.rows, trained.rows), _forms(file.rows, trained.rows))


def _as_promised(file: _File, promised: int) -> Item:
    name = "there are as many evaluation rows as promised"
    if not file.lines:
        return _unknown(name)
    return Item(
        name=name,
        state="ok" if file.lines == promised else "NO",
        found=f"{file.lines} rows",
        expected=f"{promised} rows",
        action="" if file.lines == promised else "restore the file: no row may be left out",
    )


def _fields(own: str, columns: ColumnsTable | None) -> str:
    """Say what a row has to hold: m43's own fields, or the columns that the profile names."""
    return f"every line a JSON object with {', '.join(columns.names) if columns else own}"


def _read(
    path: Path,
    columns: ColumnsTable | None,
    check: Callable[[tuple[Row, ...]], Sequence[Problem]],
) -> _File:
    try:
        file = read_columns(path, columns)
    except RowsError as error:
        return _File(rows=(), lines=0, marked=False, problems=error.problems)
    problems = (*file.problems, *check(file.rows))
    # The error's own order, which is that of the file.
    ordered = RowsError(problems).problems if problems else ()
    return _File(rows=file.rows, lines=file.lines, marked=file.marked, problems=ordered)


def _readable(name: str, file: _File, expected: str) -> Item:
    problems = file.problems
    if not problems:
        mark = ", behind a byte order mark, which is not read" if file.marked else ""
        found = f"{file.lines} rows{mark}"
        return Item(name=name, state="ok", found=found, expected=expected, action="")
    shown = "; ".join(f"{_place(each)}: {each.found}" for each in problems[:_MOST_SHOWN])
    more = len(problems) - _MOST_SHOWN
    found = shown + (f"; and {more} more" if more > 0 else "")
    # What is wrong with the file as a whole is nothing to take a row out for.
    actions = {each.action for each in problems}
    action = actions.pop() if len(actions) == 1 and _of_the_file(problems) else _CORRECT
    return Item(name=name, state="NO", found=found, expected=expected, action=action)


def _of_the_file(problems: Sequence[Problem]) -> bool:
    return not any(each.where.rpartition(":")[2].isdecimal() for each in problems)


def _place(problem: Problem) -> str:
    return problem.where.rpartition("/")[2]


def _enough(profile: Profile, file: _File) -> Item:
    name = "there are rows enough for one epoch at most"
    if not file.lines:
        return _unknown(name)
    steps, batch = profile.contract.optimizer_steps, profile.training.batch_rows
    holds = file.lines >= steps * batch
    # Packing puts several examples into a row: how many, only the tokenizer knows.
    packed = " when packed, which is counted at the gate" if profile.training.packing else ""
    fitting = file.lines // steps
    lower = f"lower training.batch_rows to {fitting}, or " if fitting else ""
    return Item(
        name=name,
        state="ok" if holds else "NO",
        found=f"{file.lines} rows",
        expected=f"{steps * batch} or more{packed}: {steps} steps of {batch}, none used twice",
        action="" if holds else f"{lower}add rows; the number of steps is fixed",
    )


def _tokens() -> Item:
    found = "BOS, terminator, answers, lengths and padding take the model's tokenizer"
    return _at_the_gate("the rows as tokens", found)


_PARQUET = "Parquet is read in the environment that trains"


def _left_to_the_gate(path: Path) -> bool:
    """Return whether a file is there that this process has no reader for."""
    return is_parquet(path) and path.is_file()


def _at_the_gate(name: str, found: str) -> Item:
    return Item(
        name=name,
        state="at the gate",
        found=found,
        expected="looked at by gate train-300 before the first step, all bad rows named at once",
        action="",
    )


def _known(rows: Sequence[Row], trained: Sequence[Row]) -> Item:
    known = KnownPrompts.of(str(row.fields["prompt"]) for row in trained)
    prompts = [str(row.fields["prompt"]) for row in rows]
    texts = sum(known.has_text(prompt) for prompt in prompts)
    alike = sum(known.has_template(prompt) for prompt in prompts)
    return note(
        "rows that training also has",
        f"{texts} with the same text, {alike} of {len(prompts)} made after the same template",
        "none with the same text; both are reported with the scores",
    )


def _forms(rows: Sequence[Row], trained: Sequence[Row]) -> Item:
    forms = count_forms(
        [str(row.fields["final_answer"]) for row in trained],
        [str(row.fields["expected_answer"]) for row in rows],
    )
    missing = [
        f"{each.form} ({each.evaluation_rows} rows)"
        for each in forms
        if each.evaluation_rows and not each.training_rows
    ]
    return note(
        "forms of the answers",
        f"training never shows: {', '.join(missing)}" if missing else "training shows them all",
        "every form that the evaluation asks for",
    )


def _unknown(name: str) -> Item:
    return unchecked(name, FailureClass.DATA_INVALID, "rows that can be read")


# What would have been looked at, and what for, where no plan could be made.
_EXPECTED = {
    "the training was planned": "the real step, compiled from config.json",
    MODEL_DESCRIBED: "the contract's architecture, parameters and shapes",
    "the training fits the memory": "what is free, with a margin",
    "the disk of the run folder has room": "room for the trained model and the evidence",
    "the disk of the Hugging Face cache has room": "room for the download",
}
_PLANNED = next(iter(_EXPECTED))


def plan_items(
    hub_access: HubAccess,
    profile: Profile,
    repository: Path,
    asked: AuthRecord | None,
    found: VenvRecord | None,
    refused: FailureClass | None = None,
) -> tuple[Item, ...]:
    """Plan the run as the venv gate will, if hub and environment admit it.

    Args:
        hub_access: The hub, the token and the cache, in which nothing is left.
        profile: What is planned.
        repository: The working tree.
        asked: What the hub said; None for a rehearsal, which has not started its own yet.
        found: What the environment is; None if there is none.
        refused: Why the hub's client could not be made, as a class; None if it could.
    """
    if profile.hub.endpoint == LOOPBACK_ENDPOINT:
        text = "it takes the toy's config.json, which the rehearsal's own hub serves"
        expected = _EXPECTED[_PLANNED]
        return (Item(name=_PLANNED, state="at the gate", found=text, expected=expected, action=""),)
    cause = refused or _obstacle(profile, asked, found)
    # The contract knows what its model is: without the hub's word the plan is made from that.
    by_contract = cause is not None and bool(profile.contract.config) and _computes(found)
    by_hub = cause is None and asked is not None
    if found is None or not (by_hub or by_contract):
        return _unplanned(cause or FailureClass.NO_VENV)
    try:
        with tempfile.TemporaryDirectory(prefix="m43-config-") as folder:
            record = plan.measure(
                hub_access,
                profile,
                None if by_contract else asked,
                found,
                run_folder=runs_folder(repository) / profile.run.name,
                repository=repository,
                config_cache=Path(folder),
            )
    except GateStoppedError as stopped:
        (problem,) = stopped.problems
        return (
            Item(
                name=_PLANNED,
                state="NO",
                found=problem.found,
                expected=problem.expected,
                action=problem.action,
            ),
            *_unplanned(stopped.failure_class)[1:],
        )
    items = (item_of(check) for check in plan_checks(record, profile))
    if cause is None:
        return tuple(items)
    # No config.json was read: whether the hub's is the contract's stays to be seen.
    unseen = unchecked(MODEL_DESCRIBED, cause, _EXPECTED[MODEL_DESCRIBED])
    return tuple(unseen if item.name == MODEL_DESCRIBED else item for item in items)


def _unplanned(cause: FailureClass) -> tuple[Item, ...]:
    return tuple(unchecked(name, cause, expected) for name, expected in _EXPECTED.items())


def _obstacle(
    profile: Profile, asked: AuthRecord | None, found: VenvRecord | None
) -> FailureClass | None:
    """Return what keeps the plan from being made: it takes the hub's files and a device."""
    if asked is not None and (bad := failing(auth_checks(asked, profile))):
        return bad[0].failure_class
    if found is None:
        return FailureClass.NO_VENV
    bad = failing(venv_checks(found, profile))
    return bad[0].failure_class if bad and not _computes(found) else None


def _computes(found: VenvRecord | None) -> bool:
    return found is not None and bool(found.probe.default_device) and not found.probe.import_error
