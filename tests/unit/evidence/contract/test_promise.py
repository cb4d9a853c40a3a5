"""The contract is read from its text, and refused when it could be kept by doing nothing."""

from pathlib import Path

import pytest

from m43.evidence.contract.contract import ContractError, parse_contract, read_contract
from m43.records.gates import STAGES
from tests.unit.evidence.good_records import CONTRACT

GOOD = '''"""A contract."""


def test_auth_says_yes(auth):
    """The hub says
    yes."""
    assert auth.statuses == (200,)


def test_train_takes_steps(train, contract):
    """Training takes the promised steps."""
    assert train.optimizer_steps == contract.optimizer_steps
    assert len(train.losses_nats) == train.optimizer_steps
'''


def test_promises_are_read_in_order_with_gate_and_clause() -> None:
    """Each test function is a promise: its name, the gate of its prefix, its clause on one line."""
    contract = parse_contract(GOOD.encode(), "contract.py")

    assert contract.names == ("test_auth_says_yes", "test_train_takes_steps")
    assert [promise.gate for promise in contract.promises] == ["auth", "train-300"]
    assert contract.promises[0].clause == "The hub says yes."
    assert len(contract.promises[1].asserts) == 2


def test_the_bundled_contract_is_readable_and_covers_every_gate() -> None:
    """The contract of the repository is one, and asks something of each gate."""
    contract = read_contract(CONTRACT)

    assert {promise.gate for promise in contract.promises} == set(STAGES)


ONE = 'def test_auth_x(auth):\n    """A clause."""\n    assert auth.a == 1\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no promise"),
        ("def test_auth_x(auth): assert auth.a == 1", "without a docstring"),
        ('def test_auth_x(auth):\n    "   "\n    assert auth.a == 1', "without a docstring"),
        (ONE.replace("test_auth_x", "test_hub_x"), "the name test_hub_x"),
        (ONE.replace("test_auth_x", "check"), "the name check"),
        (ONE.replace("test_auth_x", "test_venv_x") + ONE, "after a promise of gate venv"),
        (f"@pytest.mark.skip\n{ONE}", "decorated with `pytest.mark.skip`"),
        (ONE + ONE, "test_auth_x again"),
        (ONE + "    return\n", "`return`"),
        (ONE + "    if auth: pass\n", "`if auth: pass`"),
        (ONE.replace("assert auth.a == 1", "pass"), "`pass`"),
        ('def test_auth_x(auth):\n    """A clause."""\n', "without an assert"),
        (ONE.replace("auth.a == 1", "True"), "`assert True`"),
        (ONE.replace("(auth)", "(auth=1)"), "test_auth_x(auth=1)"),
        (ONE.replace("(auth)", "(*auth)"), "test_auth_x(*auth)"),
        (ONE.replace("auth.a == 1", "all(auth.a)"), "`all(auth.a)`"),
        (ONE.replace("auth.a == 1", "auth.a or 1"), "`auth.a or 1`"),
        (ONE.replace("auth.a", "auth.__class__"), "`auth.__class__`"),
        (f"import os\n{ONE}", "import `import os`"),
        (f"pytestmark = 1\n{ONE}", "assign `pytestmark = 1`"),
        (ONE.replace("def ", "async def "), "asyncfunctiondef"),
        ("def broken(", "never closed"),
    ],
)
def test_a_contract_that_could_be_kept_by_doing_nothing_is_refused(text: str, found: str) -> None:
    """Each way to have a promise that does not bind is a named problem."""
    with pytest.raises(ContractError) as caught:
        parse_contract(text.encode(), "contract.py")

    assert any(found in problem.found for problem in caught.value.problems), str(caught.value)


def test_all_problems_of_a_contract_are_told_at_once() -> None:
    """One look suffices to correct a contract."""
    text = "import os\n@skip\ndef test_hub_x(auth):\n    return\n"

    with pytest.raises(ContractError) as caught:
        parse_contract(text.encode(), "contract.py")

    assert len(caught.value.problems) == 5


def test_a_missing_contract_is_a_named_error(tmp_path: Path) -> None:
    """A path without a file is refused by name."""
    with pytest.raises(ContractError, match="no_such_file"):
        read_contract(tmp_path / "no_such_file.py")
