"""The contract on disk: the file that promises, and the copy of it that a run keeps."""

from pathlib import Path

from m43.errors import Problem
from m43.evidence.promise import ContractError, ContractText, Promise, parse_contract
from m43.run_dir import RunDir, write_atomically

__all__ = ["ContractError", "ContractText", "Promise", "keep", "read_contract", "read_kept"]


def read_contract(path: Path) -> ContractText:
    """Read the promises of a contract file.

    Raises: ContractError, with every problem at once.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = Problem(
            found=f"{type(error).__name__}: {error.strerror}",
            expected="the contract",
            where=str(path),
            action="restore it from git",
        )
        raise ContractError((problem,)) from error
    return parse_contract(data, str(path))


def keep(run: RunDir, path: Path) -> ContractText:
    """Copy the contract into the run folder, so that its documents can be made from it alone.

    Raises: ContractError, before anything is copied.
    """
    contract = read_contract(path)
    write_atomically(run.contract_text, path.read_bytes())
    return contract


def read_kept(run: RunDir) -> ContractText:
    """Read the contract that a run was begun under.

    Raises: ContractError.
    """
    return read_contract(run.contract_text)
