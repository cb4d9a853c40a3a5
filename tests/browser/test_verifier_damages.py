"""Each damage of `make lies` on the verifier's page: the answer of `verify`, to the letter."""

import json
import shutil
from pathlib import Path

import pytest

from m43.records import RunDir
from tests.browser.conftest import REPOSITORY
from tests.browser.first_answer import EXAMPLE
from tests.browser.verifier_page import Seen
from tests.lies.test_damage import DAMAGES
from tests.unit.evidence.disagreements import LIES
from tests.unit.evidence.good_run import stop_at, write_good_run
from tests.unit.evidence.tampering import reseal
from tools.verifier.check import Checker

NAMES = sorted(path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*.*"))


def differing(seen: Seen, run: Path, *, without_weights: bool) -> str:
    """Verify a folder on the page and outside the browser; say in what the two are not the same.

    The answer is compared as the bytes that it is handed over as, then what is drawn of it.
    """
    told = Checker(str(REPOSITORY), lambda words: None).check(
        str(run), without_weights=without_weights
    )
    seen.verify(run)
    answer = json.loads(told)
    if json.dumps(seen.answer) != told:
        return f"answered {json.dumps(seen.answer)[:2000]}, expected {told[:2000]}"
    problems = [each for claim in answer.get("claims", ()) for each in claim["problems"][:20]]
    drawn = [[each[part] for part in ("where", "found", "expected", "action")] for each in problems]
    if answer["state"] != "none" and seen.problems != drawn:
        return f"drew {seen.problems}, expected {drawn}"
    if seen.head != f"{_SIGNS.get(answer['state'], _NOT)} {answer['head']}":
        return f"headed {seen.head}, expected {answer['head']}"
    return "" if problems or answer["state"] != "unsupported" else "named nothing"


_SIGNS, _NOT = {"accepted": "\u2713"}, "\u2717"


@pytest.mark.parametrize("turn", range(len(DAMAGES)), ids=lambda turn: f"turn {turn}")
def test_each_file_damaged_is_told_as_verify_tells_it(
    seen: Seen, tmp_path: Path, turn: int
) -> None:
    """Every file of the example once, each kind of damage in turn: one claim after the other."""
    wrong = {}
    for place, name in enumerate(NAMES):
        if place % len(DAMAGES) == turn:
            run = Path(shutil.copytree(EXAMPLE, tmp_path / str(place) / EXAMPLE.name))
            # So that a kind of damage does not meet the same sort of file each time.
            damage = DAMAGES[(place + place // len(DAMAGES)) % len(DAMAGES)]
            damage(run / name)
            if differs := differing(seen, run, without_weights=True):
                wrong[f"{damage.__name__} {name}"] = differs
            assert seen.head.startswith("\u2717"), f"{damage.__name__} {name}"
    assert wrong == {}
    assert seen.complaints == []


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder with its weights, that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("good"))


def test_a_run_with_its_weights_is_accepted_as_outside(seen: Seen, good: RunDir) -> None:
    """Otherwise every lie would be named for nothing."""
    assert differing(seen, good.path, without_weights=False) == ""
    assert seen.head == "\u2713 ACCEPTED (rehearsal)"
    assert "Every file was read on this machine" in seen.page.inner_text("#weights")


def test_each_lie_that_was_sealed_again_is_named_by_its_rule(
    seen: Seen, good: RunDir, tmp_path: Path
) -> None:
    """One lie for each rule of the table of agreements."""
    wrong = {}
    for rule, lies in LIES.items():
        run = RunDir(Path(shutil.copytree(good.path, tmp_path / rule / good.path.name)))
        lie = next(iter(lies))
        lies[lie](run)
        reseal(run)
        if differs := differing(seen, run.path, without_weights=False):
            wrong[rule] = differs
        elif not any(f"[{rule}]" in " ".join(each) for each in seen.problems):
            wrong[rule] = f"not named: {lie}"
    assert wrong == {}


def test_a_run_that_was_not_accepted_is_believed_as_that(seen: Seen, tmp_path: Path) -> None:
    """Its records support what they say; the verdict comes first, and its reason."""
    run = stop_at(tmp_path, "venv", lambda run: None, failure_class="no venv")

    assert differing(seen, run.path, without_weights=True) == ""
    assert seen.head.startswith("\u2717 NOT ACCEPTED")
    assert "no venv" in seen.page.inner_text("#verdict p")
    assert "a run that was NOT ACCEPTED" in seen.page.inner_text("#weights")
    assert seen.problems == []
