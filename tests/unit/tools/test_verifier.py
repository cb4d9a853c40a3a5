"""The verifier for a browser, as far as it is Python: what it packs, and what it answers."""

import gzip
import io
import json
import shutil
import sys
import tarfile
import zipfile
from importlib.machinery import ModuleSpec, SourcelessFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType

import pytest

from m43.evidence.run import load_run
from m43.evidence.verify import LISTINGS, checkout_of, examine, git, listed_commit, write_bundle
from m43.evidence.verify import code as code_module
from m43.evidence.verify.claims import CLAIMS
from m43.records import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tools.verifier import __main__ as verifier
from tools.verifier.bytecode import compile_loaded, write_archive
from tools.verifier.check import Checker

EXAMPLE = REPOSITORY / "submission_runs" / "example_rehearsal"
COMMIT = "a" * 40


@pytest.fixture(scope="module")
def archive() -> bytes:
    """Stand in for the runtime: the same names, without what they hold."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as target:
        for name in (*verifier.RUNTIME, "pyodide-lock.json", "console.html"):
            data = b'{"info": {"python": "3.14.2"}, "packages": {"numpy": 1}}'
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def built(folder: Path, archive: bytes) -> Path:
    """Build the folder without a Python of the page's that would compile."""
    assert verifier.build(folder, archive, lambda folder: None) < verifier.MOST_BYTES
    return folder


def checker() -> Checker:
    """Give one to which nobody listens."""
    return Checker(str(REPOSITORY), lambda words: None)


def test_a_bundle_is_answered_as_its_folder_is(tmp_path: Path) -> None:
    """Report included; what is no bundle is told as that, and lets the next be asked for."""
    made = write_bundle(RunDir(EXAMPLE), load_run(RunDir(EXAMPLE)), tmp_path / "run.zip")
    (tmp_path / "other.zip").write_text("no zip")
    # Alone, as on the page: beside the example lies a ledger, where runs were made in this tree.
    alone = shutil.copytree(EXAMPLE, tmp_path / "alone" / EXAMPLE.name)
    looking = checker()
    folder = json.loads(looking.check(str(alone), without_weights=True))
    page = looking.report()

    assert json.loads(looking.check(str(made.path), without_weights=False)) == folder
    assert looking.report() == page
    other = json.loads(looking.check(str(tmp_path / "other.zip"), without_weights=False))
    assert (other["state"], folder["state"]) == ("none", "accepted")
    assert "expected a zip file" in other["words"]


def test_the_answer_is_verifys_claim_by_claim_and_told_before_each(tmp_path: Path) -> None:
    """What the page shows is what `examine` found; each claim is announced, in order."""
    run = Path(shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name))
    (run / "more.txt").write_text("more")
    announced: list[str] = []

    told = json.loads(
        Checker(str(REPOSITORY), announced.append).check(str(run), without_weights=True)
    )

    found = examine(run, REPOSITORY, without_weights=True)
    assert told["state"] == "unsupported"
    assert told["head"] == "NOT VERIFIED"
    assert announced == [claim["words"] for claim in told["claims"]]
    assert announced == [claim.words for claim in found.claims]
    assert len(announced) == CLAIMS
    wrong = [each for claim in told["claims"] for each in claim["problems"]]
    above = f"{run.parent}/"
    assert [each["where"] for each in wrong] == [
        each.where.replace(above, "") for each in found.problems
    ]


def test_a_journal_that_is_none_is_a_claim_that_does_not_hold(tmp_path: Path) -> None:
    """Not a fault of the page, which would say nothing of the folder."""
    run = Path(shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name))
    journal = run / "journal.jsonl"
    journal.write_text(journal.read_text().replace("e", "f", 1))
    looking = checker()

    told = json.loads(looking.check(str(run), without_weights=True))

    assert told["head"] == "NOT VERIFIED"
    assert "journal.jsonl:1" in told["claims"][0]["problems"][0]["where"]
    assert not any("witness" in line for line in told["signed"])
    assert looking.report().endswith("</html>")


def test_no_path_above_the_folder_and_no_steering_sign_is_shown(tmp_path: Path) -> None:
    """Where a browser mounts a folder says nothing, and a name cannot turn a line around."""
    run = Path(shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name))
    (run / "a\u202eb\x1b").write_text("more")

    told = checker().check(str(run), without_weights=True)

    assert str(tmp_path) not in told
    assert "\\u202e" not in told
    assert "\\u001b" not in told
    assert "a\N{REPLACEMENT CHARACTER}b" in json.loads(told)["claims"][-8]["problems"][0]["where"]


def test_the_report_has_no_script_and_is_else_the_runs_own() -> None:
    """A sandboxed frame runs none: the browser would say so in its console."""
    looking = checker()
    looking.check(str(EXAMPLE), without_weights=True)
    page = looking.report()

    assert page.endswith("</body></html>")
    assert "<script" not in page
    own = (EXAMPLE / "report.html").read_text(encoding="utf-8")
    assert page.partition("<body>")[2][:5000] == own.partition("<body>")[2][:5000]


def test_a_copy_without_git_knows_the_commits_that_are_listed_with_it(tmp_path: Path) -> None:
    """The listing is the commit's; a commit that is not listed is the working tree's, as ever."""
    own, other = {"m43/a.py": "1" * 64}, {"m43/a.py": "2" * 64, "m43/b.py": "3" * 64}
    text = listed_commit(COMMIT, own) + listed_commit("b" * 40, other)
    (tmp_path / LISTINGS).write_text(text)

    assert checkout_of(tmp_path, COMMIT).digests == own
    assert checkout_of(tmp_path, COMMIT).place == "commit aaaaaaaaaaaa"
    assert checkout_of(tmp_path, "b" * 40).digests == other
    assert checkout_of(tmp_path, "c" * 40).place == "this working tree"


def test_the_folder_is_the_same_each_time_and_lists_itself(archive: bytes, tmp_path: Path) -> None:
    """Two builds are equal byte for byte, and no file is missing from the list."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        built(folder, archive)

    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*.*"))
    assert [(first / name).read_bytes() for name in names] == [
        (second / name).read_bytes() for name in names
    ]
    listed = (first / "SHA256SUMS").read_text()
    assert all(f"  {name}\n" in listed for name in names)
    assert "console" not in listed
    packed = gzip.decompress((first / "runtime" / verifier.PACKED_WASM).read_bytes())
    assert packed == (first / "runtime/pyodide.mjs").read_bytes()
    assert not (first / "runtime" / verifier.WASM).exists()
    assert json.loads((first / "runtime/pyodide-lock.json").read_text())["packages"] == {}


def test_the_code_that_is_packed_knows_the_examples_commit(archive: bytes, tmp_path: Path) -> None:
    """Otherwise every run of an earlier commit would be told as judged by other code."""
    built(tmp_path / "site", archive)
    with zipfile.ZipFile(tmp_path / "site" / "m43.zip") as packed:
        packed.extractall(tmp_path / "copy")
    commit = json.loads((EXAMPLE / "opening.json").read_text())["commit"]

    assert checkout_of(tmp_path / "copy", commit).place == f"commit {commit[:12]}"
    assert examine(EXAMPLE, tmp_path / "copy", without_weights=True).problems == ()


@pytest.mark.parametrize(
    ("silent", "after"), [("rev-list", 0), ("ls-tree", 2), ("show", 2), ("cat-file", 2)]
)
def test_a_git_that_does_not_answer_lists_no_half_of_the_commits(
    monkeypatch: pytest.MonkeyPatch, silent: str, after: int
) -> None:
    """At once or in the middle: a run of a commit that is not listed would be called changed."""
    asked: list[str] = []

    def answers(repository: Path, *words: str, given: bytes = b"") -> bytes | None:
        asked.append(words[0])
        if words[0] == silent and asked.count(silent) > after:
            return None
        return git(repository, *words, given=given)

    for module in (verifier, code_module):
        monkeypatch.setattr(module, "git", answers)
    with pytest.raises(SystemExit, match=r"found no answer of git about ([0-9a-f]{12}|HEAD) in"):
        list(verifier._listings())


def test_what_is_loaded_is_compiled_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the library in the place of its source, of m43 beside it; the same bytes each time."""
    library, code = tmp_path / "library.zip", tmp_path / "code.zip"
    lies_at = {"one": "/code/own/one.py", "json": f"{Path(json.__file__).parents[1]}/json/x.py"}
    for name, path in lies_at.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, origin=path)
        monkeypatch.setitem(sys.modules, f"m43_stand_in.{name}", module)
    source = b'"""Words."""\nassert __doc__ == "Words."\nanswer = 42\n'
    made = []
    for _ in range(2):
        write_archive(library, {"json/x.py": source, "json/y.py": source})
        write_archive(code, {"own/one.py": source, "own/two.py": source, "data.txt": b"x"})
        compile_loaded(str(library), str(code), "/code")
        made.append((library.read_bytes(), code.read_bytes()))

    assert made[0] == made[1]
    compiled = cache_from_source("own/one.py")
    with zipfile.ZipFile(library) as packed:
        assert packed.namelist() == ["json/x.pyc", "json/y.py"]
    with zipfile.ZipFile(code) as packed:
        assert packed.namelist() == ["own/one.py", compiled, "own/two.py", "data.txt"]
        assert packed.read("own/one.py") == source
        packed.extractall(tmp_path)
    bytecode = SourcelessFileLoader("one", str(tmp_path / compiled)).get_code("one")
    assert bytecode is not None
    assert bytecode.co_filename == "/code/own/one.py"
    assert 42 in bytecode.co_consts


def test_without_node_or_with_one_that_fails_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sentence, before anything of the page is written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="found no node on the PATH"):
        verifier.compile_code(tmp_path)
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho SyntaxError: an old one >&2\nexit 1\n")
    node.chmod(0o755)
    with pytest.raises(SystemExit, match="found SyntaxError: an old one, expected bytecode by"):
        verifier.compile_code(tmp_path)


def test_a_runtime_of_another_digest_is_not_used(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the cache is held against the digest, and what npm brings as well."""
    (tmp_path / "runtime.tgz").write_bytes(archive)
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\nwhile [ "$1" != --pack-destination ]; do shift; done\n'
                   f'cp {tmp_path}/runtime.tgz "$2/pyodide-314.0.7.tgz"\n')  # fmt: skip
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")

    with pytest.raises(SystemExit, match=r"found sha512-.*, expected sha512-0YvX"):
        verifier.fetch(tmp_path)
    assert not (tmp_path / "runtime.tgz").exists()


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive may also be put there by hand."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit, match=r"found no npm on the PATH.*put that package's archive"):
        verifier.fetch(tmp_path / "cache")
