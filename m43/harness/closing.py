"""The closing: what is true after the last gate that ran, whichever that was."""

from collections.abc import Iterable
from pathlib import Path

from m43.evidence.digests import weights_sha256
from m43.harness import packages, tree
from m43.harness.packages import Packages
from m43.harness.tree import Tree
from m43.records import ClosingRecord
from m43.run_dir import RunDir


def closing_record(
    run: RunDir,
    repository: Path,
    *,
    tree_before: Tree,
    packages_before: Packages | None,
    site_packages: Iterable[Path],
    foreign_code: tuple[str, ...],
) -> ClosingRecord:
    """Measure the environment, the tree and the model again.

    Args:
        run: The run folder.
        repository: The working tree.
        tree_before: As it was before the first gate.
        packages_before: As they were at the venv gate; None when the run did not get there.
        site_packages: The folders that the venv gate's probe named.
        foreign_code: What in this process is not as m43's files have it.
    """
    tree_after = tree.measure(repository, run.path, tree_before.left_out)
    packages_after = packages.measure(site_packages)
    known = packages_before is not None
    return ClosingRecord(
        packages_sha256=packages_after.sha256 if known else "",
        tree_sha256=tree_after.sha256,
        tree_files=len(tree_after.files),
        changed_paths=tree.changes(tree_before, tree_after),
        left_out=tree_after.left_out,
        changed_packages=(
            packages.changes(packages_before, packages_after) if packages_before is not None else ()
        ),
        model_sha256=weights_sha256(run.model),
        foreign_code=foreign_code,
        documents=tuple(
            sorted(path.name for path in (run.summary, run.failure_analysis) if path.exists())
        ),
    )
