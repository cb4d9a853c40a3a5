"""Isolation: what lies about, on a path or in an environment, is not run by a child."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from m43.harness.process import isolation
from m43.harness.process.isolation import OwnCode, own_code, sealed_file

# What a child says: which files its modules came from, and what was run before it.
SAYS = """
import argparse, json, sys
from m43 import part

def main(arguments):
    loaded = {name: getattr(sys.modules.get(name), "__file__", None) for name in NAMES}
    said = {"arguments": arguments, "part": part.SAYS, "files": loaded, "path": sys.path}
    print(json.dumps({**said, "prefix": sys.prefix, "digests": sys.meta_path[0].digests}))
    return 0
NAMES = ("argparse", "sitecustomize", "usercustomize", "evil", "jax")
"""
EVIL = "import sys; sys.modules['evil'] = sys; raise SystemExit('evil ran')\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a checkout whose m43 tells what it sees, with m43's own isolation in it."""
    root = tmp_path / "checkout"
    isolation = "m43/harness/process/isolation.py"
    (root / isolation).parent.mkdir(parents=True)
    (root / isolation).write_text((Path(__file__).parents[4] / isolation).read_text())
    (root / "m43" / "__init__.py").write_text("")
    (root / "m43" / "part.py").write_text('SAYS = "as it was"\n')
    (root / "m43" / "says.py").write_text(SAYS)
    return root


def ask(code: OwnCode, interpreter: Path | None = None, **variables: str) -> dict:
    """Run the child as `run_child` does, from within the checkout, and read what it says."""
    command = code.command(interpreter or Path(sys.executable), "m43.says", "one", "two")
    with sealed_file(code.handed) as given:
        done = subprocess.run(
            command,
            stdin=given,
            cwd=code.repository,
            env={"PATH": os.environ["PATH"], "HOME": str(code.repository), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_child_runs_the_m43_that_was_read(checkout: Path) -> None:
    """With its arguments, in its environment, each source with the digest of its file."""
    said = ask(own_code(checkout))

    assert (said["arguments"], said["part"]) == (["one", "two"], "as it was")
    assert said["prefix"] == sys.prefix
    assert sorted(said["digests"]) == ["m43/__init__.py", "m43/part.py", "m43/says.py"]


@pytest.mark.parametrize(
    "name",
    [
        "argparse.py",
        "json.py",
        "sitecustomize.py",
        "usercustomize.py",
        "jax/__init__.py",
        "site.py",
    ],
)
@pytest.mark.parametrize("way", ["lies there", "PYTHONPATH", "PYTHONSTARTUP"])
def test_what_lies_at_the_root_of_the_checkout_is_not_run(
    checkout: Path, name: str, way: str
) -> None:
    """A file with the name of another module is not found, and no variable leads to it."""
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text(EVIL)
    value = str(checkout / name if way == "PYTHONSTARTUP" else checkout)
    said = ask(own_code(checkout), **({way: value} if way.startswith("PYTHON") else {}))

    assert said["files"]["sitecustomize"] is said["files"]["evil"] is None
    assert not any(str(checkout) in (file or "") for file in said["files"].values())
    assert not any(str(checkout) in entry for entry in said["path"])


def test_the_start_up_files_of_an_environment_are_not_run(checkout: Path, tmp_path: Path) -> None:
    """Neither a .pth, whether it runs code or adds a folder, nor a sitecustomize."""
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    for name in ("evil.py", "sitecustomize.py", "usercustomize.py"):
        (site / name).write_text(EVIL)
    (site / "first.pth").write_text("import evil\n")
    (site / "second.pth").write_text(f"{checkout}\n")
    said = ask(own_code(checkout), tmp_path / "env" / "bin" / "python")

    assert set(said["files"].values()) - {said["files"]["argparse"]} == {None}
    assert str(site) in said["path"]
    assert str(checkout) not in said["path"]
    assert said["prefix"] == str(tmp_path / "env")


def test_code_that_is_exchanged_after_it_was_read_is_not_run(checkout: Path) -> None:
    """Source, a compiled file beside it, a module that was not there: the child sees none of it."""
    code = own_code(checkout)
    before = ask(code)
    (checkout / "m43" / "part.py").write_text('SAYS = "exchanged"\n')
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(checkout / "m43")], check=True)
    (checkout / "m43" / "argparse.py").write_text(EVIL)
    (checkout / "m43" / "part").mkdir()
    (checkout / "m43" / "part" / "__init__.py").write_text(EVIL)

    assert own_code(checkout) is code
    assert ask(code) == before


def test_a_module_that_m43_has_not_is_not_looked_for_elsewhere(checkout: Path) -> None:
    """A package of that name in the environment would be another m43."""
    (checkout / "m43" / "says.py").write_text("import m43.nowhere\n")
    code = OwnCode(repository=checkout, sources=own_code.__wrapped__(checkout).sources)
    (checkout / "m43" / "nowhere.py").write_text("")
    with pytest.raises(AssertionError, match=r"No module named 'm43\.nowhere' in the m43 of this"):
        ask(code)


def test_compiled_files_that_lie_there_are_not_used_where_a_run_compiles_itself(
    checkout: Path, tmp_path: Path
) -> None:
    """A .pyc is believed by Python for its source's time and size, which says nothing of it."""
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    interpreter, module = tmp_path / "env" / "bin" / "python", site / "jax.py"
    moment = time.time_ns() - 10**12
    for text in ("SAYS = 'evil ran'\n", "SAYS = 'goodness'\n"):
        module.write_text(text)
        os.utime(module, ns=(moment, moment))
        if "evil" in text:
            subprocess.run([interpreter, "-m", "compileall", "-q", str(site)], check=True)
    (checkout / "m43" / "says.py").write_text(
        "import jax, json\ndef main(arguments):\n    print(json.dumps(jax.SAYS))\n"
    )
    code = own_code(checkout)
    assert ask(code, interpreter) == "evil ran"
    own = code.command(interpreter, "m43.says", compiled=tmp_path / "own")
    with sealed_file(code.handed) as given:
        said = subprocess.run(own, stdin=given, capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == "goodness"


def test_nobody_can_write_to_what_is_handed_over() -> None:
    """Neither through the descriptor nor through /proc; there is no name to replace."""
    with sealed_file(b"m43") as descriptor:
        if not hasattr(os, "memfd_create"):
            return
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(OSError), Path(f"/proc/self/fd/{descriptor}").open("wb") as file:  # noqa: PT011
            file.write(b"x")
        assert os.read(descriptor, 9) == b"m43"


@pytest.mark.parametrize("busy", [0, 3, 10**6], ids=["free", "for a moment", "for good"])
def test_a_file_whose_pages_the_kernel_holds_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    """Whoever moves pages holds them for a moment; one that is held for good ends in the error."""
    left, add_seals = busy, fcntl.fcntl

    def held(*call: int) -> int:
        nonlocal left
        left -= 1
        if left >= 0:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return add_seals(*call)

    monkeypatch.setattr(fcntl, "fcntl", held)
    monkeypatch.setattr(isolation, "_BUSY_S", 0.5)
    if busy > 3:
        with pytest.raises(OSError, match="busy"), sealed_file(b"m43"):
            pass
        return
    with sealed_file(b"m43") as descriptor:
        seals = add_seals(descriptor, fcntl.F_GET_SEALS)
        assert seals & fcntl.F_SEAL_WRITE
        assert os.read(descriptor, 9) == b"m43"
