"""What the contract's own asserts say over records: the words that a broken promise leaves."""

import ast
from collections.abc import Callable, Mapping
from functools import cache

from _pytest.assertion import util
from _pytest.assertion.rewrite import rewrite_asserts

from tests.unit.evidence.good_records import CONTRACT

# A run's journal keeps the sentence of the assert; what pytest adds below it ends here.
_LONGEST = 4000


def broken_words(name: str, records: Mapping[str, object]) -> str:
    """Hold a promise against records; return what its failed assert says, or nothing.

    The lines in which pytest shows how two values differ are left out: they are another version's
    to change, and depend on how the test itself was called.
    """
    promise = _contract()[name]
    wanted = promise.__code__.co_varnames[: promise.__code__.co_argcount]
    before = util._reprcompare, util._config
    util._reprcompare, util._config = None, None
    try:
        promise(*(records[each] for each in wanted))
    except AssertionError as error:
        return str(error)[:_LONGEST]
    finally:
        util._reprcompare, util._config = before
    return ""


@cache
def _contract() -> Mapping[str, Callable[..., None]]:
    """Compile the contract as pytest does, so that an assert says what it compared."""
    source = CONTRACT.read_bytes()
    tree = ast.parse(source)
    rewrite_asserts(tree, source, str(CONTRACT))
    module: dict[str, Callable[..., None]] = {}
    exec(compile(tree, str(CONTRACT), "exec"), module)
    return module
