"""A contract of one's own: judged by the same code, and never called M43."""

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from acceptance.lies import LIES as M43_LIES
from m43.evidence.contract.contract import parse_contract
from m43.evidence.contract.folder import called, promise_differences, unkeepable
from m43.evidence.run import broken_by, load_run, untold
from m43.evidence.verify import verify
from m43.harness.commands.new import NameTakenError, new
from m43.records import RunDir, profile_check
from tests.unit.acceptance.lies import truth
from tests.unit.evidence.good_records import CONTRACT, REPOSITORY, profile_of
from tests.unit.evidence.tampering import Change, rechain, reseal
from tests.unit.harness.copied_tree import CopiedTree, copy_tree

M43 = CONTRACT.read_text(encoding="utf-8")
DROPPED = "test_train_moves_the_weights"
LOOSENED = "test_venv_has_the_memory_that_training_takes"
ADDED = "test_eval_reaches_an_accuracy"
PROMISE = f'''

def {ADDED}(evaluation):
    """The tuned model answers so many rows right."""
    assert evaluation.results.overall.tuned_correct >= 0

'''


def own_text() -> str:
    """Write the M43 contract with one promise dropped, one loosened and one added."""
    text = re.sub(rf"def {DROPPED}\(.*?\n\n\n", "", M43, flags=re.DOTALL)
    text = text.replace("assert 0 < 1.15 * plan.peak_bytes", "assert 0 < 1.05 * plan.peak_bytes")
    return text.replace("\n\n# --- closing", f"{PROMISE}\n# --- closing")


def test_differences_are_told_by_the_promises_text() -> None:
    """Dropped, changed, reworded, added, moved: each by its name, and comments are no promise."""
    theirs = parse_contract(M43.encode(), "m43")
    mine = parse_contract(own_text().encode(), "own")

    assert promise_differences(mine, theirs) == (
        f"dropped: {DROPPED}: train.parameters_moved > 0 and "
        "train.model_sha256 != train.base_weights_sha256",
        f"changed: {LOOSENED}: 0 < 1.05 * plan.peak_bytes <= plan.memory_bytes instead of "
        "0 < 1.15 * plan.peak_bytes <= plan.memory_bytes",
        f"added: {ADDED}: evaluation.results.overall.tuned_correct >= 0",
    )
    reworded = parse_contract(M43.replace("moves no weights.", "moves some.").encode(), "own")
    (line,) = promise_differences(reworded, theirs)
    assert line.startswith("reworded: test_auth_moves_no_weights: 'Proving access moves some.'")
    commented = parse_contract(f"{M43}\n# more\n".encode(), "own")
    assert promise_differences(commented, theirs) == ()
    assert promise_differences(theirs, theirs) == ()


def test_promises_in_another_order_are_another_contract() -> None:
    """At the first broken promise of a gate nothing else is lost, but an order is text, too."""
    one, other = re.findall(r"def test_closing.*?(?=\n\n\n|\Z)", M43, flags=re.DOTALL)[:2]
    moved = M43.replace(one, "<one>").replace(other, one).replace("<one>", other)
    theirs = parse_contract(M43.encode(), "m43")
    (line,) = promise_differences(parse_contract(moved.encode(), "own"), theirs)
    assert line.startswith("in another order: test_auth")


@pytest.mark.parametrize(
    ("name", "differences", "expected"),
    [
        ("m43", (), "m43"),
        ("m43", ("x",), "own"),
        ("m43_b", ("x",), "own"),
        ("sums", ("x",), "sums"),
    ],
)
def test_another_contract_is_never_called_m43(
    name: str, differences: tuple[str, ...], expected: str
) -> None:
    """Whatever its profile calls it."""
    assert called(name, "m43", differences) == expected


def test_values_that_no_run_can_keep_are_named_before_it() -> None:
    """600 steps are refused by the promise that knows the most, not by m43."""
    contract, promised = parse_contract(M43.encode(), "m43"), profile_of().contract
    assert unkeepable(contract, promised) == ()
    many = replace(promised, optimizer_steps=600)
    (line,) = unkeepable(contract, many)
    assert line.endswith("200 <= train.optimizer_steps <= 500")


OF_CONTRACT = re.compile(r"NOT SUPPORTED.*(contract|promise|code\.sha256|differen)")


@dataclass(frozen=True, kw_only=True)
class Own:
    """A finished rehearsal under a contract of one's own, and what the terminal said of it."""

    tree: CopiedTree
    run: RunDir
    said: str


def command(tree: CopiedTree, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of m43 in the copy."""
    return subprocess.run(
        [sys.executable, "-m", "m43", *words], cwd=tree.root, env=tree.environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """Write a contract, change it, and run it."""
    copied_tree = copy_tree(REPOSITORY, tmp_path_factory.mktemp("own") / "repository")
    assert command(copied_tree, "new", "sums").returncode == 0
    folder = copied_tree.root / "sums"
    (folder / CONTRACT.name).write_text(own_text())
    result = copied_tree.pytest("sums", "-m", "rehearsal")
    assert result.returncode == 0, result.stdout + result.stderr
    (run,) = (each for each in copied_tree.runs.iterdir() if each.is_dir())
    return Own(tree=copied_tree, run=RunDir(run), said=result.stdout)


def test_what_differs_is_told_in_all_five_places(own: Own) -> None:
    """Terminal, summary, report, attestation and verify; none of them calls it M43."""
    summary = own.run.summary.read_text(encoding="utf-8")
    page = own.run.report.read_text(encoding="utf-8")
    attested = own.run.attestation.read_text(encoding="utf-8")
    verified = command(own.tree, "verify", str(own.run.path))

    assert own.run.summary.name == "sums_summary.md"
    assert summary.startswith("# Sums summary")
    # The quick child invents what it measures, so that other claims do not hold.
    assert not [line for line in verified.stdout.splitlines() if OF_CONTRACT.search(line)]
    places = {
        "terminal": own.said[own.said.rindex("m43 rehearsal") :],
        "summary": summary.split("## In short")[0],
        "report": page[: page.index('class="figures"')],
        "attestation": json.dumps(json.loads(attested)["predicate"]["configuration"]),
        "verify": verified.stdout,
    }
    assert "the same contract" not in own.said
    for place, text in places.items():
        plain = " ".join(text.split())
        for word in (f"dropped: {DROPPED}", f"changed: {LOOSENED}", f"added: {ADDED}", "sums"):
            assert word in plain, (place, word)
        assert "same contract" not in plain.lower(), place


def test_the_lies_of_a_contract_are_told_over_its_rehearsal(own: Own) -> None:
    """A promise without a lie fails, and so does a lie without its promise."""
    untold = own.tree.pytest("sums/lies.py")
    assert untold.returncode == 1
    assert "FAILED sums/lies.py::test_every_promise_has_its_lie" in untold.stdout
    assert f"FAILED sums/lies.py::test_a_lie_breaks_its_promise_and_no_other[{DROPPED}]" in (
        untold.stdout
    )
    assert f"2 failed, {len(M43_LIES) - 1} passed" in untold.stdout
    table = own.tree.root / "sums" / "lies.py"
    old = f'"{DROPPED}": {{"train.parameters_moved": 0}}'
    words = (
        f"evaluation.{name}.overall.tuned_correct" for name in ("results", "recomputed_results")
    )
    mine = f'"{ADDED}": {{{", ".join(f"{word!r}: -1" for word in words)}}}'
    before = table.read_text()
    table.write_text(before.replace(old, mine))
    told = own.tree.pytest("sums/lies.py")
    table.write_text(before)
    assert told.returncode == 0, told.stdout


def test_without_a_rehearsal_one_sentence_says_so_once(own: Own) -> None:
    """Not once a promise: the promises were changed since, and nothing is there to lie about."""
    promises = own.tree.root / "sums" / CONTRACT.name
    before = promises.read_text()
    promises.write_text(f"{before}\n# another contract\n")
    told = own.tree.pytest("sums/lies.py")
    promises.write_text(before)

    assert told.returncode == 1
    assert told.stdout.count("found no accepted rehearsal") == 1
    assert "run `pytest sums -m rehearsal` first" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr
    # The table itself needs no rehearsal.
    assert "1 failed" in told.stdout


def _opening(**values: object) -> Change:
    def change(run: RunDir) -> None:
        told = json.loads(run.opening.read_text(encoding="utf-8"))
        run.opening.write_text(json.dumps(told | values), encoding="utf-8")

    return change


def _m43_text(run: RunDir) -> None:
    theirs = parse_contract(M43.encode(), "m43")
    run.contract_text.write_text(M43, encoding="utf-8")
    digest = {"contract_sha256": theirs.text_sha256, "promises": theirs.names}
    _opening(**digest, promise_differences=(), profile_differences=(), contract_name="m43")(run)


LIES: dict[str, tuple[Change, str]] = {
    "the promises are those of M43": (
        _opening(promise_differences=()), "opening.json, promise_differences"
    ),
    "it is called M43": (_opening(contract_name="m43"), "opening.json, contract_name"),
    "its values are those of M43": (
        _opening(profile_differences=()), "a difference that is disclosed"
    ),
    "one more value differs": (
        _opening(
            profile_differences=(
                "contract.name: 'sums' instead of 'm43'", "contract.eval_rows: 1 instead of 100",
            )
        ),
        "a difference of contract.lock.json",
    ),
    "it lay elsewhere": (_opening(contract="../sums"), "opening.json, contract"),
    "the text is that of M43": (_m43_text, f"0 entries about {DROPPED}"),
}  # fmt: skip


def test_a_lie_about_the_contract_is_caught(own: Own) -> None:
    """The difference is edited out and everything sealed again: verify works it out again."""
    honest = set(verify(own.run.path, own.tree.root))
    before = {path: path.read_bytes() for path in own.run.path.iterdir() if path.is_file()}
    for words, (tell, caught) in LIES.items():
        tell(own.run)
        entries = [json.loads(line) for line in own.run.journal.read_text().splitlines()]
        entries[-1]["detail"] = load_run(own.run).verdict_words(True)
        rechain(own.run, entries)
        reseal(own.run)
        found = set(verify(own.run.path, own.tree.root)) - honest
        assert any(caught in str(each) for each in found), (words, found)
        for path in own.run.path.iterdir():
            if path.is_file():
                path.unlink()
        for path, data in before.items():
            path.write_bytes(data)


def test_where_the_contract_is_not_known_its_kept_text_is_judged(own: Own) -> None:
    """On a machine without the folder verify needs it no more; another conftest is refused."""
    honest = verify(own.run.path, own.tree.root)
    (own.tree.root / "sums").rename(own.tree.root.parent / "sums")
    assert verify(own.run.path, own.tree.root) == honest

    listed = own.run.code.read_text(encoding="utf-8")
    own.run.code.write_text(re.sub(r"\w{64}(?=  sums/conftest)", "0" * 64, listed))
    found = "\n".join(str(each) for each in verify(own.run.path, own.tree.root))
    assert "code.sha256, sums/conftest.py" in found


@pytest.mark.parametrize("name", ["acceptance", "m43_mine", "Sums", "../up", "math"])
def test_a_contract_needs_a_name_of_its_own(name: str, tmp_path: Path) -> None:
    """Nothing is written over, outside, or under the name of the M43 contract."""
    shutil.copytree(CONTRACT.parent, tmp_path / "acceptance")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NameTakenError, match="expected a new name"):
        new(name, tmp_path, io.StringIO())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_profile_stands_on_its_base(tmp_path: Path) -> None:
    """What it does not say is as its base says, paths from the base on; a table below replaces."""
    shutil.copytree(CONTRACT.parent, tmp_path / "acceptance")
    new("sums", tmp_path, io.StringIO())
    path = tmp_path / "sums" / "production.toml"
    text = path.read_text()
    path.write_text(text.replace('name = "sums"', 'name = "sums"\noptimizer_steps = 414'))
    mine, base = (profile_check.load(p) for p in (path, tmp_path / "acceptance" / path.name))
    assert profile_check.differences(mine, base) == (
        "contract.name: 'sums' instead of 'm43'",
        "contract.optimizer_steps: 414 instead of 300",
        "run.name: 'sums_v1' instead of 'm43_v1'",
    )


@pytest.mark.parametrize("promise", M43_LIES)
def test_a_lie_of_the_m43_table_breaks_its_promise_and_no_other(promise: str) -> None:
    """The table that `m43 new` hands on, told over records that keep every promise."""
    folder = CONTRACT.parent
    assert broken_by(folder, truth().records, M43_LIES[promise]) == (promise,)
    assert broken_by(folder, truth().records, {}) == untold(folder, M43_LIES) == ()
