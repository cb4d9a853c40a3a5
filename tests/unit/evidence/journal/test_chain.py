"""The chain says of every bad line what is wrong with it, and of a cut end how much is good."""

import json
from dataclasses import dataclass

import pytest

from m43 import typed_json
from m43.evidence.journal import chain
from m43.evidence.journal.chain import FIRST_PREVIOUS, BrokenChainError, CutChainError


@dataclass(frozen=True, kw_only=True)
class Item:
    """The least that a chain can hold."""

    seq: int
    word: str
    previous_sha256: str
    sha256: str


def items(*words: str) -> tuple[Item, ...]:
    """Chain words."""
    made: list[Item] = []
    for word in words:
        fields = {
            "seq": len(made) + 1,
            "word": word,
            "previous_sha256": made[-1].sha256 if made else FIRST_PREVIOUS,
        }
        made.append(Item(**fields, sha256=chain.seal(fields)))  # type: ignore[arg-type]
    return tuple(made)


def lines(*words: str) -> list[bytes]:
    """Write chained words."""
    return [chain.line(item) for item in items(*words)]


def problems(data: bytes) -> list[tuple[str, str, str]]:
    """Read what must be refused; give found, expected and where of each problem."""
    with pytest.raises(BrokenChainError) as caught:
        chain.parse(Item, data, "a.jsonl")
    return [(item.found, item.expected, item.where) for item in caught.value.problems]


def test_the_format_is_the_one_that_is_documented() -> None:
    """Sorted keys, no spaces, no escapes beyond JSON's own, a line feed at the end.

    Written out, because anybody shall be able to check a chain without m43.
    """
    (item,) = items("ü")
    assert item.sha256 == "1cd0b99f40b3f614a19db0bec7703f7d5e2c36146379bb1d423006a34896aa33"
    assert (
        chain.line(item)
        == (
            f'{{"previous_sha256":"{"0" * 64}","seq":1,"sha256":"{item.sha256}","word":"ü"}}\n'
        ).encode()
    )


def test_a_chain_reads_back() -> None:
    """And an empty one is a chain of nothing."""
    assert chain.parse(Item, b"".join(lines("a", "b", "c")), "a.jsonl") == items("a", "b", "c")
    assert chain.parse(Item, b"", "a.jsonl") == ()


def test_a_changed_word_breaks_its_seal_and_no_other() -> None:
    """The line is named, with both seals."""
    first, second, third = lines("a", "b", "c")
    data = first + second.replace(b'"b"', b'"B"') + third
    with pytest.raises(BrokenChainError) as caught:
        chain.parse(Item, data, "a.jsonl")
    action = "do not rely on this file: it was changed after it was written"
    assert [item.action for item in caught.value.problems] == [action]
    ((found, expected, where),) = problems(data)
    _, honest, _ = items("a", "b", "c")
    fields = {**typed_json.to_plain(honest), "word": "B"}
    assert found == f"the seal {honest.sha256[:12]}"
    assert expected == f"{chain.seal(fields)[:12]}, computed from the line"
    assert where == "a.jsonl:2"


def test_a_line_that_is_taken_out_is_told_by_its_number_and_its_link() -> None:
    """Both are said of the line that now stands in its place."""
    first, _, third = lines("a", "b", "c")
    a, b, _ = items("a", "b", "c")
    assert problems(first + third) == [
        ("entry 3", "entry 2", "a.jsonl:2"),
        (
            f"a link to {b.sha256[:12]}",
            f"a link to {a.sha256[:12]}, the line before",
            "a.jsonl:2",
        ),
    ]


def test_every_bad_line_is_named_and_the_others_are_still_read() -> None:
    """Not UTF-8, not JSON, not its fields; what follows is linked to the last good line."""
    first, second, third = lines("a", "b", "c")
    found = problems(b"\xff\n" + first + b"{}\n")
    assert found[0][0].startswith("'utf-8' codec can't decode byte 0xff in position 0")
    assert found[0][1:] == ("UTF-8", "a.jsonl:1")
    assert ("entry 1", "entry 2", "a.jsonl:2") in found
    fields = ("seq", "word", "previous_sha256", "sha256")
    assert [where for _, _, where in found[2:]] == [f"a.jsonl:3, {field}" for field in fields]
    told = problems(first + second[:-2] + b"\n" + third)
    assert [where for _, _, where in told] == ["a.jsonl:2", "a.jsonl:3"]


def test_an_end_that_is_cut_is_told_apart_with_what_is_good() -> None:
    """How many bytes are good, how many are not, and the entries of the good ones."""
    first, second = lines("a", "b")
    with pytest.raises(CutChainError) as caught:
        chain.parse(Item, first + second[:-1], "a.jsonl")
    cut = caught.value
    assert (cut.good, cut.good_bytes, cut.cut_bytes) == (
        items("a"),
        len(first),
        len(second) - 1,
    )
    (problem,) = cut.problems
    assert problem.found == f"{len(second) - 1} bytes of an unfinished line after 1 whole ones"
    assert problem.expected == "whole lines only"
    assert problem.where == "a.jsonl"
    action = "read the whole lines: the machine stopped while the last one was written"
    assert problem.action == action


def test_a_chain_that_is_broken_and_cut_is_broken() -> None:
    """A cut at the end excuses nothing before it."""
    first, second = lines("a", "b")
    assert problems(second + first[:-1])[0] == ("entry 2", "entry 1", "a.jsonl:1")


def test_a_number_that_json_does_not_have_is_not_sealed() -> None:
    """Another reader would refuse the line."""
    with pytest.raises(ValueError, match="JSON"):
        chain.canonical({"x": float("nan")})


def test_the_seal_leaves_its_own_field_out() -> None:
    """And no other."""
    fields = json.loads(lines("a")[0])
    assert chain.seal(fields) == chain.seal({**fields, "sha256": "other"}) == fields["sha256"]
    assert chain.seal({**fields, "word": "b"}) != fields["sha256"]
