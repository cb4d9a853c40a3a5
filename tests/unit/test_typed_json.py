"""Typed JSON: what is written comes back, and what does not fit is told all at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.typed_json import NOT_WRITTEN_AS_NONE, dump, dump_line, parse, read_table


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A small table."""

    name: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A table of every kind of value."""

    count: int
    alive: bool
    kind: Literal["oak", "elm"]
    place: Path
    leaves: tuple[Leaf, ...]
    best: Leaf | None = None
    rings: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, bool | int | float | str] = field(default_factory=dict)


leaves = st.builds(
    Leaf,
    name=st.text(),
    weight=st.floats(allow_nan=False, allow_infinity=False),
)
trees = st.builds(
    Tree,
    count=st.integers(-(2**63), 2**63 - 1),
    alive=st.booleans(),
    kind=st.sampled_from(["oak", "elm"]),
    place=st.sampled_from([Path("a/b"), Path("/c")]),
    leaves=st.lists(leaves, max_size=3).map(tuple),
    best=st.none() | leaves,
    rings=st.dictionaries(st.text(), st.integers(0, 9), max_size=3),
    notes=st.dictionaries(
        st.text(),
        st.booleans() | st.integers(0, 9) | st.floats(-9, 9) | st.text(),
        max_size=3,
    ),
)


@given(trees)
def test_a_record_comes_back_as_it_was_written(tree: Tree) -> None:
    """Writing and reading is the identity, as a file and as a line."""
    assert parse(Tree, dump(tree), "here") == (tree, ())
    assert parse(Tree, dump_line(tree), "here") == (tree, ())


@given(trees)
def test_a_line_is_one_line(tree: Tree) -> None:
    """JSON Lines needs exactly one line break, at the end."""
    line = dump_line(tree)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert line.encode().decode() == line


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """A record of which a field is written only where it says something."""

    told: int | None = None
    sparse: int | None = field(default=None, metadata=NOT_WRITTEN_AS_NONE)


def test_a_field_that_says_nothing_is_left_out_where_it_is_so_declared() -> None:
    """Records of before stay as they were to the byte; what is there comes back."""
    assert dump_line(Sparse()) == '{"told": null}\n'
    for record in (Sparse(), Sparse(sparse=0)):
        assert parse(Sparse, dump(record), "there") == (record, ())


def test_every_problem_is_told_at_once() -> None:
    """Four mistakes give four problems, each with its place."""
    data = {
        "count": True,
        "alive": True,
        "kind": "oat",
        "place": "p",
        "leaves": [{"name": 3, "weight": 1}],
        "bets": None,
    }
    tree, problems = read_table(Tree, data, "tree.toml")
    assert tree is None
    assert [problem.where for problem in problems] == [
        "tree.toml, bets",
        "tree.toml, count",
        "tree.toml, kind",
        "tree.toml, leaves[0].name",
    ]


def test_a_table_of_ones_own_names_is_read_value_by_value() -> None:
    """Any name is admitted; what stands under it has its type."""
    good = {"count": 1, "alive": True, "kind": "oak", "place": "p", "leaves": []}
    for rings, places in (
        ({"inner": 1, "outer": "two"}, ["tree, rings.outer"]),
        (3, ["tree, rings"]),
        ([["inner", 1]], ["tree, rings"]),
    ):
        tree, problems = read_table(Tree, {**good, "rings": rings}, "tree")
        assert tree is None
        assert [problem.where for problem in problems] == places


def test_a_value_of_several_kinds_keeps_its_own() -> None:
    """A whole number stays one, and what is of none of the kinds is refused with all of them."""
    good = {"count": 1, "alive": True, "kind": "oak", "place": "p", "leaves": []}
    tree, _ = read_table(Tree, {**good, "notes": {"a": 1, "b": 1.0, "c": True, "d": "1"}}, "tree")
    assert tree is not None
    assert [type(value) for value in tree.notes.values()] == [int, float, bool, str]
    for found in ([1], None, {}):
        tree, (problem,) = read_table(Tree, {**good, "notes": {"a": found}}, "tree")
        assert tree is None
        assert problem.expected == "true or false or a whole number or a finite number or text"


def test_an_unknown_key_is_answered_with_the_nearest_known_one() -> None:
    """A slip of the pen is corrected by name."""
    _, problems = read_table(Leaf, {"nmae": "x", "weight": 1.0}, "leaf")
    assert "did you mean 'name'?" in problems[0].action


def test_a_missing_key_is_named_with_its_type() -> None:
    """The type tells what to add."""
    _, problems = read_table(Leaf, {"name": "x"}, "leaf")
    assert (problems[0].where, problems[0].expected) == ("leaf, weight", "a finite number")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"name": "x", "weight": NaN}', "NaN"),
        ('{"name": "x", "weight": 1, "weight": 2}', "twice"),
        ('{"name": "x"', "Expecting"),
        ("[]", "[]"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: str, found: str) -> None:
    """NaN, a repeated key, a cut file and a list are no record."""
    leaf, problems = parse(Leaf, text, "leaf.json:3")
    assert leaf is None
    assert found in problems[0].found
    assert problems[0].where == "leaf.json:3"


def test_a_number_that_json_lacks_is_never_written() -> None:
    """A record cannot hold NaN: unknown is a named error, not a value."""
    with pytest.raises(ValueError, match="JSON"):
        dump(Leaf(name="x", weight=float("nan")))


def test_the_same_value_gives_the_same_bytes() -> None:
    """Field order is the class's, so digests can be compared."""
    leaf = Leaf(name="é", weight=1.0)
    assert dump(leaf) == '{\n  "name": "é",\n  "weight": 1.0\n}\n'
    assert json.loads(dump_line(leaf)) == {"name": "é", "weight": 1.0}
