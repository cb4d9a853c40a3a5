"""The digest of an environment notices what a package manager, or a hand, does to it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from m43.harness.run import closing


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a site-packages folder with one package."""
    folder = tmp_path / "site-packages"
    (folder / "optax" / "__pycache__").mkdir(parents=True)
    (folder / "optax" / "__init__.py").write_text("one = 1\n")
    (folder / "optax-1.0.dist-info").mkdir()
    (folder / "optax-1.0.dist-info" / "RECORD").write_text("optax/__init__.py,sha256=1,8\n")
    return folder


def install(site: Path) -> None:
    """Add a package."""
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text("")


def upgrade(site: Path) -> None:
    """Put a newer version in a package's place."""
    (site / "optax-1.0.dist-info").rename(site / "optax-1.1.dist-info")


def remove(site: Path) -> None:
    """Take a package away."""
    (site / "optax" / "__init__.py").unlink()
    (site / "optax" / "__pycache__").rmdir()
    (site / "optax").rmdir()


def edit(site: Path) -> None:
    """Change a file without changing its length."""
    path = site / "optax" / "__init__.py"
    before = path.stat().st_mtime_ns
    path.write_text("one = 2\n")
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def falsify(site: Path) -> None:
    """Change a RECORD and put its time back."""
    path = site / "optax-1.0.dist-info" / "RECORD"
    status = path.stat()
    path.write_text("optax/__init__.py,sha256=2,8\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (install, ("torch (added)",)),
        (upgrade, ("optax-1.0.dist-info (removed)", "optax-1.1.dist-info (added)")),
        (remove, ("optax (removed)",)),
        (edit, ("optax (changed)",)),
        (falsify, ("optax-1.0.dist-info (changed)",)),
    ],
)
def test_each_kind_of_change_moves_the_digest_and_is_named(
    site: Path, change: Callable[[Path], None], named: tuple[str, ...]
) -> None:
    """Nothing is installed, upgraded, removed or edited unnoticed."""
    before = closing.measure_packages([site])
    change(site)
    after = closing.measure_packages([site])
    assert after.sha256 != before.sha256
    assert closing.package_changes(before, after) == named


def test_what_python_caches_does_not_count(site: Path) -> None:
    """Running a program compiles modules; that changes nothing that is installed."""
    before = closing.measure_packages([site])
    (site / "optax" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"x")
    (site / "__pycache__").mkdir()
    assert closing.measure_packages([site]) == before


def test_one_folder_under_two_names_counts_once(site: Path) -> None:
    """lib64 is a link to lib in most environments."""
    link = site.parent / "lib64"
    link.symlink_to(site)
    assert closing.measure_packages([site, link]) == closing.measure_packages([site])
    assert closing.measure_packages([site, site.parent / "absent"]) == closing.measure_packages(
        [site]
    )
