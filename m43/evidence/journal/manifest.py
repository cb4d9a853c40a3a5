"""The manifest: `MANIFEST.sha256`, which `sha256sum -c` checks as well as m43 does."""

import re
from collections.abc import Mapping
from pathlib import Path

from m43.errors import M43Error, Problem, problem
from m43.files import file_sha256
from m43.records import FILES, RunDir, unfinished, write_atomically

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")


class UnlistableFileError(M43Error):
    """A file in the run folder that a manifest cannot name."""


def seal(run: RunDir) -> str:
    """Write the manifest of every file that is finished, and give the manifest's own SHA-256.

    Raises: UnlistableFileError.
    """
    names = sealed_names(run)
    for name in names:
        # coreutils writes such names in an escaped form of its own; m43 makes none.
        if "\n" in name or "\\" in name:
            raise UnlistableFileError(
                found=f"a file called {name!r}",
                expected="names without line feeds and backslashes",
                where=str(run.path),
                action="find out what wrote it; m43 does not",
            )
        if (run.path / name).is_symlink():
            raise UnlistableFileError(
                found=f"the link {name}",
                expected="files only, because what a link leads to may change",
                where=str(run.path),
                action="find out what made it; m43 does not",
            )
    text = "".join(f"{file_sha256(run.path / name)}  {name}\n" for name in names)
    write_atomically(run.manifest, text.encode())
    return file_sha256(run.manifest)


def is_weights(name: str) -> bool:
    """Tell whether a sealed file holds weights, which a folder is often handed on without."""
    return name.startswith((f"{RunDir.model.name}/", f"{RunDir.adapter.name}/")) and name.endswith(
        ".safetensors"
    )


def check(run: RunDir, *, without_weights: bool = False) -> tuple[Problem, ...]:
    """Name every file that is missing, changed or extra.

    Args:
        run: The run folder.
        without_weights: The folder was handed on without its weights; where they lie, they are
            checked all the same.
    """
    listed, problems = _listed(run)
    present = set(sealed_names(run))
    problems += [
        _problem(run, name, "no file", "the file that was sealed")
        for name in sorted(set(listed) - present)
        if not (without_weights and is_weights(name))
    ]
    problems += [
        _problem(run, name, "a file that was not sealed", "nothing beside the sealed files")
        for name in sorted(present - set(listed))
    ]
    problems += _changed(run, listed, sorted(present & set(listed)))
    return tuple(problems)


def missing_weights(run: RunDir) -> tuple[str, ...]:
    """Name the files of weights that were sealed and are not in the run folder."""
    return tuple(
        name for name in sorted(read(run)) if is_weights(name) and not (run.path / name).is_file()
    )


def read(run: RunDir) -> Mapping[str, str]:
    """Give the sealed files with their digests; what is no line of a manifest is left out."""
    return _listed(run)[0]


def sealed_names(run: RunDir) -> tuple[str, ...]:
    """List what the manifest covers, by path inside the run folder, in order.

    Left out is what the table of files calls not sealed, because it changes after the seal or is
    made from sealed files: the manifest itself, the journal (which seals itself, and names the
    manifest's digest), the documents and reports; and what was being written when its writer died.
    """
    later = {run.path / file.name for file in FILES if not file.sealed}
    # Called after its contract, of which this need not know.
    later |= set(run.path.glob(RunDir.summary.name.format(contract="*")))
    # A report is written after the seal: killed in the middle of it, it leaves such a file.
    later |= set(unfinished(run.path))
    paths = (path for path in run.path.rglob("*") if path.is_symlink() or not path.is_dir())
    return tuple(
        sorted(
            path.relative_to(run.path).as_posix()
            for path in paths
            if not later & {path, *path.parents}
        )
    )


def _listed(run: RunDir) -> tuple[dict[str, str], list[Problem]]:
    try:
        text = run.manifest.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return {}, [_problem(run, run.manifest.name, type(error).__name__, "a readable manifest")]
    listed: dict[str, str] = {}
    problems = []
    # Only \n ends a line, for sha256sum as well: str.splitlines knows other ends.
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            name = f"{run.manifest.name}:{number}"
            problems.append(_problem(run, name, repr(line[:80]), "a digest, two spaces, a name"))
        elif match["name"] in listed:
            name = f"{run.manifest.name}:{number}"
            problems.append(_problem(run, name, f"{match['name']} again", "each file once"))
        else:
            listed[match["name"]] = match["digest"]
    if not listed:
        problems.append(_problem(run, run.manifest.name, "no files", "every file of the run"))
    return listed, problems


def _changed(run: RunDir, listed: Mapping[str, str], names: list[str]) -> list[Problem]:
    problems = []
    for name in names:
        if (run.path / name).is_symlink():
            problems.append(_problem(run, name, "a link", "the file that was sealed"))
            continue
        digest = file_sha256(run.path / name)
        if digest != listed[name]:
            found, expected = f"SHA-256 {digest[:12]}…", f"{listed[name][:12]}… as sealed"
            problems.append(_problem(run, name, found, expected))
    return problems


def _problem(run: RunDir, name: str, found: str, expected: str) -> Problem:
    action = "do not rely on this folder: it is not as it was sealed"
    return problem(found, expected, Path(run.path, name), action)
