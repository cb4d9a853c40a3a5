"""The code of a run: every file that judges it, listed before the first gate, then audited."""

import hashlib
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from m43.errors import Problem, problem
from m43.evidence.contract import CARRIED, CONFTEST, M43, PROMISES, home, is_installed, package
from m43.evidence.run import LoadedRun
from m43.files import file_sha256
from m43.records import OpeningRecord, RunDir
from m43.text import counted, is_folder_name

# What decides: m43 itself, the contract with its profiles and rows, and what pytest reads first.
# pyproject.toml holds the list of what training needs.
_PACKAGE, _PROJECT = "m43", "pyproject.toml"
PARTS = (_PACKAGE, M43, "conftest.py", "pytest.ini", _PROJECT)


def files(tree: Path, contract: str = M43) -> Mapping[str, Path]:
    """List the files that a run under a contract depends on, by path as in a checkout of m43.

    Of an installed m43 the code and pyproject.toml are its own, and all else is the tree's.
    """
    places = {part: tree / part for part in (*PARTS, contract)}
    places |= {_PACKAGE: package(tree), _PROJECT: home(tree) / _PROJECT}
    found = {
        PurePosixPath(part, path.relative_to(place)): path
        for part, place in places.items()
        for path in (place.rglob("*") if "." not in part else [place])
        if path.is_file() and "__pycache__" not in path.parts
    }
    # It lies within the code of an installed m43, and is none of it.
    carried = PurePosixPath(_PACKAGE, CARRIED.name)
    return {str(name): found[name] for name in sorted(found) if carried not in name.parents}


def judging_files(tree: Path, contract: str = M43) -> tuple[Path, ...]:
    """List those of them that no wheel brought: of the others a RECORD has the digests."""
    code = package(tree)
    listed = files(tree, contract).values()
    return tuple(path for path in listed if not (is_installed() and path.is_relative_to(code)))


def digests(tree: Path, contract: str = M43) -> Mapping[str, str]:
    """Digest the files that a run depends on, by path as in a checkout of m43."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files(tree, contract).items()
    }


def listing(tree: Path, contract: str = M43) -> str:
    """Write them as sha256sum does, so that anybody can check a checkout against a run."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests(tree, contract).items())


def parse(text: str) -> Mapping[str, str]:
    """Read a listing back; a line that is none gives an empty digest."""
    listed = {}
    for line in text.removesuffix("\n").split("\n"):
        digest, _, name = line.partition("  ")
        listed[name or line] = digest if name else ""
    return listed


def other_version(run: RunDir, repository: Path) -> Problem | None:
    """Say which m43 can judge a folder whose records and documents this one writes otherwise.

    Up to the minor version (semver.org, item 4) they are the same. Read without the record's
    type, which is one of the things that differ; what cannot be read is named by other checks.
    """
    try:
        project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
        opening = json.loads(run.opening.read_text(encoding="utf-8"))
        own, made_by = project["project"]["version"], opening["m43_version"]
        if _minor(own) == _minor(made_by):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    commit = str(opening.get("commit", "")).partition("+")[0]
    where = f"`git checkout {commit}`" if _COMMIT.fullmatch(commit) else "install it"
    return Problem(
        found=f"a run of m43 {made_by}",
        expected=f"one of m43 {'.'.join(map(str, _minor(own)))}, which this one is",
        where=f"{run.opening.name}, m43_version",
        action=f"m43 {made_by} can judge it: {where}, then verify it again",
    )


def _minor(version: str) -> tuple[int, int]:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(version)
    return int(match[1]), int(match[2])


_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.[0-9a-z.]{1,20}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GIT_PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Digests of the code by path, and where they were taken from."""

    place: str
    digests: Mapping[str, str] = field(repr=False)


def checkout_of(repository: Path, commit: str, contract: str = M43) -> Checkout:
    """Return the code of a commit, or that of the working tree if git does not know it.

    A commit "with changes" names no code: only the working tree can be what it was.
    """
    known = len(commit) == 40
    committed = (
        (_committed(repository, commit, contract) or _listed(repository, commit)) if known else None
    )
    if committed is not None:
        return Checkout(place=f"commit {commit[:12]}", digests=committed)
    place = "this m43, as it is installed" if is_installed() else "this working tree"
    return Checkout(place=place, digests=digests(repository, contract))


# Of a copy without git: for each commit a line of its name, then its listing.
LISTINGS = "commits.sha256"
_NAMES = "commit "


def listed_commit(commit: str, code: Mapping[str, str]) -> str:
    """Write what a copy of this repository without git has to know of a commit."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in code.items())
    return f"{_NAMES}{commit}\n{lines}"


def _listed(repository: Path, commit: str) -> Mapping[str, str] | None:
    path = repository / LISTINGS
    if not path.is_file():
        return None
    _, known, after = path.read_text(encoding="utf-8").partition(f"{_NAMES}{commit}\n")
    return parse(after.partition(f"\n{_NAMES}")[0]) if known else None


def _committed(repository: Path, commit: str, contract: str) -> Mapping[str, str] | None:
    named = ("ls-tree", "-r", "-z", "--name-only", commit, "--", *dict.fromkeys((*PARTS, contract)))
    listed = git(repository, *named)
    if listed is None:
        return None
    names = [name for name in listed.decode(errors="surrogateescape").split("\0") if name]
    wanted = "".join(f"{commit}:{name}\n" for name in names)
    answer = git(repository, "cat-file", "--batch", given=wanted.encode(errors="surrogateescape"))
    return _parted(names, answer) if answer is not None else None


def _parted(names: list[str], answer: bytes) -> Mapping[str, str] | None:
    """Cut `git cat-file --batch` into files: a line with the size, the bytes, a line feed."""
    digests, place = {}, 0
    for name in names:
        end = answer.find(b"\n", place)
        words = answer[place:end].split()
        # A link of git's ("commit") or a name with a line feed has no bytes to give.
        if len(words) != 3 or words[1] != b"blob":
            return None
        size = int(words[2])
        digests[name] = hashlib.sha256(answer[end + 1 : end + 1 + size]).hexdigest()
        place = end + 1 + size + 1
    return digests


def helper_environment(environment: Mapping[str, str], *own: str) -> dict[str, str]:
    """Give the few variables that a helper of m43's is started with, such as git or nvidia-smi.

    Args:
        environment: The engineer's variables, of which these alone are kept.
        own: Names of those that this helper needs beside what all of them do.
    """
    named = ("PATH", "HOME", "LD_LIBRARY_PATH", *own)
    kept = {name: environment[name] for name in named if name in environment}
    return kept | {"LC_ALL": "C"}


def git(repository: Path, *words: str, given: bytes = b"") -> bytes | None:
    """Ask git about a checkout, which is left as it is; None where git does not answer."""
    # Without optional locks: nothing is written, into .git neither.
    # A configuration may name programs that git then runs: none of the repository's, and of the
    # environment's variables only what git needs to be found and to trust the folder.
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    # Whose code runs here already is trusted by git too, also where another user checked it out.
    trust = ("-c", f"safe.directory={repository}")
    command = ["git", "--no-optional-locks", *quiet, *trust, "-C", str(repository), *words]
    try:
        answer = subprocess.run(
            command,
            input=given,
            capture_output=True,
            timeout=_GIT_PATIENCE_S,
            check=False,
            env=helper_environment(os.environ) | {"GIT_TERMINAL_PROMPT": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


_SHOWN = 5
_OTHER_CODE = "do not rely on this folder: what ran is not what was digested"


def audit_imported(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold what the children ran against the list of m43's code, and against each other."""
    known: dict[str, str] = {}
    if run.code.is_file():
        known.update(parse(run.code.read_text(encoding="utf-8", errors="replace")))
    ways = {"production": "compiled for this run"}
    for child, facts in (("train", loaded_run.train), ("eval", loaded_run.evaluation)):
        if facts is None:
            continue
        where, imported = run.imported(child).name, facts.imported
        way = ways.get(loaded_run.kind, "as found")
        if imported.bytecode != way:
            yield problem(f"bytecode {imported.bytecode}", way, where, _OTHER_CODE)
        files = parse("".join(f"{line}\n" for line in imported.files))
        own = {name for name in files if name.startswith(f"{PARTS[0]}/")}
        if not own:
            yield problem("no module of m43", "those that were run", where, _OTHER_CODE)
        for name in sorted((own | known.keys() & files.keys()) - set(imported.changed)):
            if files[name] != known.get(name):
                found = f"{name} with SHA-256 {files[name][:12]}…"
                expected = (
                    f"{known.get(name, 'none')[:12]}…, as in {run.code.name} or the other child"
                )
                yield problem(found, expected, where, _OTHER_CODE)
        known = {**files, **known}


def audit_code(run: RunDir, loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Compare the list of the code that judged the run with the code of its commit.

    A gate that was changed for the run, in a file of m43 or in a conftest, shows here.
    """
    if loaded_run.opening is None:
        return
    where = run.code.name
    if not run.code.is_file():
        action = "do not rely on this folder: it does not say which code judged the run"
        yield problem("no file", "the digest of every file that judged it", where, action)
        return
    digest = file_sha256(run.code)
    if digest != loaded_run.opening.code_sha256:
        expected = f"{loaded_run.opening.code_sha256}, as in opening.json"
        action = "do not rely on this folder: it was changed after the run"
        yield problem(f"SHA-256 {digest}", expected, where, action)
    listed = parse(run.code.read_text(encoding="utf-8", errors="replace"))
    contract = loaded_run.opening.contract
    if not is_folder_name(contract):
        yield problem(repr(contract), "a folder's name", "opening.json, contract", _OTHER_CODE)
        return
    known = checkout_of(repository, loaded_run.opening.commit, contract)
    yield from _audit_contract_files(loaded_run, contract, listed, known)
    yield from _audit_tree(loaded_run.opening, listed, known)
    names = sorted(listed.keys() | known.digests.keys())
    made_by = f"a clone that has the run's commit ({loaded_run.opening.commit})"
    if loaded_run.opening.tree_commit:
        # Of a tree that m43 was installed for, the rest is somebody else's.
        made_by = f"the m43 {loaded_run.opening.m43_version} that was installed for the run"
        names = [name for name in names if name == _PROJECT or name.startswith(f"{_PACKAGE}/")]
    elif not any(name.startswith(f"{contract}/") for name in known.digests):
        # A contract of somebody else's: the folder keeps its text, and nothing of it is run.
        names = [name for name in names if not name.startswith(f"{contract}/")]
    other = [name for name in names if listed.get(name) != known.digests.get(name)]
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        yield problem(
            f"other code in {counted(len(other), 'file')}: {', '.join(other[:_SHOWN])}{more}",
            f"the code of {known.place}",
            where,
            f"verify with {made_by}; where even that differs, the run was judged by code that was "
            "changed for it",
        )


def own_conftest(listed: Mapping[str, str], known: Mapping[str, str]) -> str:
    """Return the SHA-256 of a tree's conftest.py where it is not the one that m43 writes."""
    found = listed.get(CONFTEST, "none")
    return "" if found == known.get(CONFTEST) else found


def _audit_tree(
    opening: OpeningRecord, listed: Mapping[str, str], known: Checkout
) -> Iterator[Problem]:
    """Hold what is said of a tree that m43 was installed for against the list of the code."""
    told, where = opening.tree_conftest_sha256, f"{RunDir.opening.name}, tree_conftest_sha256"
    expected = own_conftest(listed, known.digests) if opening.tree_commit else ""
    if told != expected:
        yield problem(repr(told), f"{expected!r}, by {RunDir.code.name}", where, _OTHER_CODE)


def _audit_contract_files(
    loaded_run: LoadedRun, contract: str, listed: Mapping[str, str], known: Checkout
) -> Iterator[Problem]:
    """Hold the promises and the conftest of a contract against what the folder keeps of them."""
    kept = loaded_run.contract.text_sha256 if loaded_run.contract is not None else "none"
    pairs = {PROMISES: (kept, RunDir.contract_text.name)}
    # It could put another function in the place of a gate, so there is one for every contract.
    installed = loaded_run.opening is not None and loaded_run.opening.tree_commit
    m43 = known.digests if installed else listed
    pairs[CONFTEST] = (m43.get(f"{M43}/{CONFTEST}", "none"), f"{M43}/{CONFTEST}")
    for name, (expected, of) in pairs.items():
        found = listed.get(f"{contract}/{name}", "none")
        if found != expected:
            where = f"{RunDir.code.name}, {contract}/{name}"
            yield problem(f"{found[:12]}…", f"{expected[:12]}…, as {of}", where, _OTHER_CODE)
