"""JSON is what the standard says, or one error; Python's own reader is laxer, and more frail."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.typed_json import NotJsonError, read_json
from tests.unit.fuzzing import hostile

CORPUS = Path(__file__).parent / "corpus" / "json"
VALUES = {"list.json", "text.json", "null.json", "number.json"}
NAMES = sorted(path.name for path in CORPUS.iterdir())

texts = st.text(st.characters(exclude_categories=[]), max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def outcome(data: bytes) -> Any:
    """Read bytes as text and then as JSON, or give the error."""
    try:
        return read_json(data.decode())
    except (UnicodeDecodeError, NotJsonError) as error:
        return error


@pytest.mark.parametrize("name", sorted(set(NAMES) - VALUES))
def test_what_is_no_json_is_refused(name: str) -> None:
    """With a short reason, whatever it is."""
    error = outcome((CORPUS / name).read_bytes())

    assert isinstance(error, UnicodeDecodeError | NotJsonError)
    assert len(str(error)) < 300


@pytest.mark.parametrize("name", sorted(VALUES))
def test_any_json_value_is_json(name: str) -> None:
    """That it should have been an object is for its reader to say."""
    data = (CORPUS / name).read_bytes()

    assert outcome(data) == json.loads(data)


def test_the_place_of_an_error_is_named() -> None:
    """The column of a line of JSON Lines, and the line of a larger file."""
    with pytest.raises(NotJsonError, match=r"at column 7$"):
        read_json('{"a": }')
    with pytest.raises(NotJsonError, match=r"at line 2, column 1$"):
        read_json('{"a":\n}')


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_how_deep_it_may_be_nested_is_the_same_everywhere(opens: str, closes: str) -> None:
    """200 levels in any Python; whether one more level of two is too deep does not depend on it."""
    most = 200 // len(closes)
    assert read_json(opens * most + "1" + closes * most)
    for depth in (most + 1, 5000, 100_000):
        with pytest.raises(NotJsonError, match="nested deeper than 200 levels"):
            read_json(opens * depth + "1" + closes * depth)


@hostile(50)
@given(values)
def test_what_was_written_is_read(value: Any) -> None:
    """Every value that JSON has comes back as it was."""
    assert read_json(json.dumps(value)) == value


@hostile(50)
@given(st.binary(max_size=40) | texts.map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but the two errors."""
    outcome(data)
