"""What a lent machine lacks, as wheels: collected here, installed there without a network.

    python -m tools.card_check.wheels collect          here, in m43's own environment
    python3 -m tools.card_check.wheels install FOLDER  there; makes FOLDER/judge and FOLDER/training

Two environments, as a run has them. The judge's holds m43's own requirements and nothing else,
since a run refuses foreign plugins of pytest. The one that trains is the machine's own packages but
for torch, which no run's environment has, and what the machine lacks beside them.
"""

import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
# Not in git.
CARRIED = REPOSITORY / ".card_check"
COMMIT = CARRIED / "COMMIT"
MOST_BYTES = 64 * 2**20
"""Of the working tree that travels, the wheels included."""

# Not on such a machine, or there of a version that does not go with its jax 0.11.2.
TRAINING = ("datasets", "dill", "multiprocess", "flax")
# What such a machine is, for the markers of requirements.
MACHINE = {
    "python_version": "3.12",
    "python_full_version": "3.12.3",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "extra": "",
}
# pip takes each by its name alone.
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17")
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+==[^\s;]+)(?: ?; ?([^\n\\]+?))? *\\?$", re.MULTILINE)


def locked(text: str) -> dict[str, str]:
    """Read the versions that requirements.lock has for such a machine, by canonical name."""
    lines = (f"{pin} ; {marker}" if marker else pin for pin, marker in _LOCKED.findall(text))
    wanted = (each for each in map(Requirement, lines) if _applies(each))
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in wanted}


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(dict(MACHINE))


def closure(names: Iterable[str]) -> list[str]:
    """List distributions with all that they require, as this environment's metadata has it."""
    found: dict[str, None] = {}
    left = [str(canonicalize_name(name)) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found[name] = None
        wanted = map(Requirement, metadata.requires(name) or ())
        left += [str(canonicalize_name(each.name)) for each in wanted if _applies(each)]
    return sorted(found)


def collect() -> int:
    """Download the wheels of both environments, and refuse what would not travel."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    own = [Requirement(text).name for text in project["project"]["dependencies"]]
    versions = locked((REPOSITORY / "requirements.lock").read_text(encoding="utf-8"))
    for kind, names in (("judge", closure(own)), ("training", list(TRAINING))):
        folder = CARRIED / kind
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.whl"):
            old.unlink()
        if missing := [name for name in names if name not in versions]:
            sys.stderr.write(
                f"found no version of {', '.join(missing)} in requirements.lock, expected one for "
                "each package that travels: type make lock\n"
            )
            return 2
        pins = [f"{name}=={versions[name]}" for name in names]
        sys.stdout.write(f"{kind}: {', '.join(pins)}\n")
        subprocess.run([*_pip_download(folder), *pins], check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    COMMIT.write_text(commit.stdout, encoding="utf-8")
    wheels, tree = size_bytes(CARRIED.rglob("*")), size_bytes(_tracked())
    sys.stdout.write(
        f"wheels {wheels / 2**20:.1f} MiB and working tree {tree / 2**20:.1f} MiB: "
        f"{(wheels + tree) / 2**20:.1f} of at most {MOST_BYTES / 2**20:.0f} MiB\n"
    )
    return 0 if wheels + tree <= MOST_BYTES else 1


def _pip_download(folder: Path) -> list[str]:
    platforms = [f"--platform={name}_x86_64" for name in (*_PLATFORMS, "manylinux2014")]
    target = ("--python-version=3.12", "--implementation=cp", *platforms)
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder))
    return [sys.executable, "-m", "pip", "download", *options, *target]


def size_bytes(paths: Iterable[Path]) -> int:
    """Add up the sizes of files; folders and what is gone count nothing."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def _tracked() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    yield from (REPOSITORY / name for name in listed.stdout.split("\0") if name)


def install(folder: Path) -> int:
    """Make both environments of what was carried; nothing is fetched."""
    for kind in ("judge", "training"):
        home = folder / kind
        wheels = sorted(map(str, (CARRIED / kind).glob("*.whl")))
        if not wheels:
            sys.stderr.write(
                f"found no wheels in {CARRIED / kind}, expected those that `collect` puts there; "
                "name .card_check among what is carried\n"
            )
            return 2
        # Without pip: the machine's own installs into it.
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        python = home / "bin" / "python"
        options = ("--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir")
        pip = (sys.executable, "-m", "pip", "--python", str(python), "install")
        subprocess.run([*pip, *options, *wheels], check=True)
        if kind == "training":
            link_machines(home)
    sys.stdout.write(
        f"{folder}/training/bin/python -m tools.card_check --judge {folder}/judge/bin/python "
        f"--rival {sys.executable}\n"
    )
    return 0


def link_machines(home: Path) -> None:
    """Link into an environment what it lacks of the packages of the one that this runs in.

    Neither a .pth file nor `--system-site-packages` would do: a run's children execute no .pth, and
    this interpreter's own packages lie in an environment themselves.
    """
    (site,) = home.glob("lib/python*/site-packages")
    paths = sysconfig.get_paths()
    taken = {_whose(path.name) for path in site.iterdir()}
    for folder in dict.fromkeys((paths["purelib"], paths["platlib"])):
        for path in sorted(Path(folder).iterdir()):
            whose = _whose(path.name)
            # transformers would import it in each of a run's children, wherever it finds it.
            if path.suffix != ".pth" and whose not in taken and not whose.startswith("torch"):
                (site / path.name).symlink_to(path)


def _whose(entry: str) -> str:
    """Return by what name an entry of a site-packages folder is taken, whatever its version is."""
    return entry.partition("-")[0] + ".dist-info" if entry.endswith(".dist-info") else entry


def main(arguments: Sequence[str]) -> int:
    """Collect or install."""
    match list(arguments):
        case ["collect"]:
            return collect()
        case ["install", folder]:
            return install(Path(folder).absolute())
    sys.stderr.write(f"{__doc__}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
