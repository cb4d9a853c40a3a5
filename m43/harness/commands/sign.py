"""The seal command: verify a finished run folder, and sign it if every claim of it holds."""

import getpass
from collections.abc import Iterator
from pathlib import Path

from m43.errors import M43Error
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.signature import sign
from m43.evidence.verify.verify import verify
from m43.records.run_dir import RunDir


class UnsupportedRunError(M43Error):
    """A folder that makes a claim which does not hold; a signature would only lend it weight."""


def seal(run_path: Path, key: Path, repository: Path) -> Iterator[str]:
    """Sign a run folder, whatever its verdict; give the lines to print.

    Raises: UnsupportedRunError, SignedAlreadyError, MissingExtraError, KeyFileError.
    """
    problems = verify(run_path, repository)
    for problem in problems:
        yield f"NOT SUPPORTED  {problem}"
    if problems:
        raise UnsupportedRunError(
            found=f"{len(problems)} claims that do not hold",
            expected="a folder that verifies",
            where=str(run_path),
            action="nothing was signed",
        )
    run = RunDir(run_path)
    # A password is asked for: as an argument everybody on the machine could read it.
    keyid = sign(run, load_run(run), key, lambda prompt: getpass.getpass(prompt))
    yield f"{run.signature}: signed by the key {keyid}"
