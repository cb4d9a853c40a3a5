"""The digest of an environment notices what a package manager, or a hand, does to it."""

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from m43.harness.run import packages
from m43.records.run_records import ImportedRecord, Origins


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
    before = packages.measure_packages([site])
    change(site)
    after = packages.measure_packages([site])
    assert after.sha256 != before.sha256
    assert packages.package_changes(before, after) == named


def test_what_python_caches_does_not_count(site: Path) -> None:
    """Running a program compiles modules; that changes nothing that is installed."""
    before = packages.measure_packages([site])
    (site / "optax" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"x")
    (site / "__pycache__").mkdir()
    assert packages.measure_packages([site]) == before


def test_one_folder_under_two_names_counts_once(site: Path) -> None:
    """lib64 is a link to lib in most environments."""
    link = site.parent / "lib64"
    link.symlink_to(site)
    assert packages.measure_packages([site, link]) == packages.measure_packages([site])
    assert packages.measure_packages([site, site.parent / "absent"]) == packages.measure_packages(
        [site]
    )


# --- what a child ran ----------------------------------------------------------------------------

SOURCE = b"two = 2\n"


@pytest.fixture
def ran(tmp_path: Path) -> Callable[..., ImportedRecord]:
    """Have a child import a package with a true RECORD, after something was done to it."""
    site, standard = tmp_path / "env" / "site-packages", tmp_path / "python3.11"
    for path in (site / "flax" / "core.py", site / "flax" / "lib.so", standard / "json.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SOURCE)
    (site / "first.pth").write_text("import os\n")
    text = base64.urlsafe_b64encode(hashlib.sha256(SOURCE).digest()).decode().rstrip("=")
    record = site / "flax-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("".join(f"flax/{name},sha256={text},8\n" for name in ("core.py", "lib.so")))

    def audit(change: Callable[[Path], object], after: Callable[[Path], object]) -> ImportedRecord:
        change(site)
        before = packages.measure_packages([site])
        after(site)
        modules = [*sorted(site.rglob("*.py")), standard / "json.py"]
        origins = Origins(
            own=(f"{'a' * 64}  m43/errors.py", f"{'b' * 64}  m43/files.py"),
            modules=tuple(map(str, modules)),
            libraries=(str(site / "flax" / "lib.so"), "/proc/self/exe"),
            standard=str(standard),
            startup=(),
        )
        code = {"m43/errors.py": "a" * 64, "m43/files.py": "b" * 64}
        return packages.audit(origins, before, [str(site)], code, compiled=True)

    return audit


def nothing(site: Path) -> None:
    """Leave it as the wheel brought it."""


def patch(site: Path, name: str = "core.py") -> None:
    """Edit a file in place; size and time are as before."""
    path = site / "flax" / name
    status = path.stat()
    path.write_bytes(b"two = 3\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def patch_library(site: Path) -> None:
    """Edit machine code in place."""
    patch(site, "lib.so")


def put_beside(site: Path) -> None:
    """Add a module that no wheel brought."""
    (site / "helper.py").write_text("")


def link_elsewhere(site: Path) -> None:
    """Have another environment share the file, as uv does: its ctime changes, its bytes do not."""
    (site.parent / "shared.py").hardlink_to(site / "flax" / "core.py")


def test_what_a_child_ran_is_digested_and_named(ran: Callable[..., ImportedRecord]) -> None:
    """m43 as it said, packages and Python by the folder they lie in, the rest by its path."""
    record = ran(nothing, nothing)
    digest = hashlib.sha256(SOURCE).hexdigest()

    assert record.files[:2] == (f"{'a' * 64}  m43/errors.py", f"{'b' * 64}  m43/files.py")
    assert record.files[2:5] == (
        f"{digest}  site-packages/flax/core.py",
        f"{digest}  python3.11/json.py",
        f"{digest}  site-packages/flax/lib.so",
    )
    assert record.files[5].endswith("  /proc/self/exe")
    assert (record.altered, record.unrecorded, record.changed, record.startup) == ((),) * 4
    assert record.passed_over == ("site-packages/first.pth",)
    assert record.bytecode == "compiled for this run"


@pytest.mark.parametrize(
    ("change", "after", "named"),
    [
        (patch, nothing, {"altered": ("site-packages/flax/core.py",)}),
        (patch_library, nothing, {"altered": ("site-packages/flax/lib.so",)}),
        (put_beside, nothing, {"unrecorded": ("site-packages/helper.py",)}),
        (nothing, patch, dict.fromkeys(("altered", "changed"), ("site-packages/flax/core.py",))),
        (nothing, put_beside, {"unrecorded": ("site-packages/helper.py",)}),
        (nothing, link_elsewhere, {}),
    ],
)
def test_what_differs_from_its_wheel_or_from_before_is_named(
    ran: Callable[..., ImportedRecord],
    change: Callable[[Path], None],
    after: Callable[[Path], None],
    named: dict[str, tuple[str, ...]],
) -> None:
    """A file that was edited in place, one that was put there, one that changed meanwhile."""
    record = ran(change, after)
    found = {name: getattr(record, name) for name in ("altered", "unrecorded", "changed")}
    assert {name: files for name, files in found.items() if files} == named


def test_a_module_of_nowhere_and_other_code_of_m43_are_named(tmp_path: Path) -> None:
    """A package at the root of a checkout; a source that the list of code has otherwise."""
    stray = tmp_path / "jax" / "__init__.py"
    stray.parent.mkdir()
    stray.write_text("")
    origins = Origins(
        own=(f"{'c' * 64}  m43/errors.py",),
        modules=(str(stray), str(tmp_path / "gone.py")),
        libraries=(),
        standard="/nowhere",
        startup=("sitecustomize",),
    )
    none = packages.measure_packages([])
    record = packages.audit(origins, none, [], {"m43/errors.py": "a" * 64}, compiled=False)

    assert record.unrecorded == (str(stray),)
    gone = f"{tmp_path / 'gone.py'} (No such file or directory)"
    assert record.changed == ("m43/errors.py", gone)
    assert (record.startup, record.bytecode) == (("sitecustomize",), "as found")


@pytest.fixture
def judging(site: Path) -> Callable[[], ImportedRecord]:
    """Look at a process that has a package and a module of Python, and m43 of a checkout."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"one = 1\n").digest()).decode().rstrip("=")
    record = site / "optax-1.0.dist-info" / "RECORD"
    record.write_text(f"optax/__init__.py,sha256={digest},8\n")
    repository = site.parent / "checkout"

    def module(path: str) -> ModuleType:
        made = ModuleType(Path(path).stem)
        made.__file__ = path
        return made

    loaded = [hashlib.__file__, str(site / "optax" / "__init__.py"), f"{repository}/m43/a.py"]
    loaded += [str(path) for path in (site / "helper.py", repository / "helper.py")]

    def look() -> ImportedRecord:
        there = {
            name: module(name) for name in loaded if "helper" not in name or Path(name).is_file()
        }
        return packages.audit_judge(
            there, [repository / "m43" / "a.py"], [str(repository), str(site)]
        )

    return look


def test_what_judges_is_held_against_its_wheels_too(
    judging: Callable[[], ImportedRecord], site: Path
) -> None:
    """As the packages of a child, by the same names; m43's own modules are looked at elsewhere."""
    record = judging()
    assert len(record.files) == 2
    assert (record.altered, record.unrecorded, record.changed) == ((), (), ())
    (site / "optax" / "__init__.py").write_text("one = 2\n")
    put_beside(site)
    stray = site.parent / "checkout" / "helper.py"
    stray.parent.mkdir()
    stray.write_text("")
    record = judging()
    assert record.altered == ("site-packages/optax/__init__.py",)
    assert sorted(record.unrecorded) == sorted([str(stray), "site-packages/helper.py"])


def test_an_edit_whose_time_is_put_back_is_a_change_of_the_environment(site: Path) -> None:
    """Size and time say nothing of a file; the time of that change (ctime) does."""
    before = packages.measure_packages([site])
    path = site / "optax" / "__init__.py"
    status = path.stat()
    path.write_text("one = 2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = packages.measure_packages([site], before)
    assert packages.package_changes(before, after) == ("optax (changed)",)


def test_a_file_of_python_that_leads_out_of_its_folder_is_pythons(tmp_path: Path) -> None:
    """As /usr/lib/python3.11/sitecustomize.py of Debian does; one among its packages is not."""
    standard, elsewhere = tmp_path / "lib" / "python3.11", tmp_path / "etc" / "sitecustomize.py"
    (standard / "dist-packages").mkdir(parents=True)
    elsewhere.parent.mkdir()
    elsewhere.write_text("")
    links = (standard / "sitecustomize.py", standard / "dist-packages" / "sitecustomize.py")
    for link in links:
        link.symlink_to(elsewhere)
    origins = Origins(
        own=(),
        modules=tuple(map(str, links)),
        libraries=(),
        standard=str(standard),
        startup=(),
    )
    found = packages.audit(origins, packages.measure_packages([]), [], {}, compiled=True)
    assert found.unrecorded == ("python3.11/dist-packages/sitecustomize.py",)
