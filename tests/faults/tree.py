"""A copy of the repository in which real rehearsals are made, and harmed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.record import FOLDER

_PARTS = ("m43", "acceptance", "conftest.py", "pytest.ini", "pyproject.toml")
_SABOTAGE = Path(__file__).with_name("sabotage.py")
_QUICK_CHILD = Path(__file__).parents[1] / "unit" / "harness" / "quick_child.py"

# What the copies' children compile is kept for those of the next case, in rehearsals of a loopback
# hub as well; the product keeps nothing for them. The key of a program is the program itself.
_COMPILED = """
import os

os.environ.update(
    JAX_COMPILATION_CACHE_DIR={folder!r},
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES="none",
)
"""

# The shortest run that the contract admits: a fault need not wait for more.
SHORT: Mapping[str, object] = {
    "contract.name": "fault",
    "contract.optimizer_steps": 200,
    "training.batch_rows": 2,
    "training.warmup_steps": 10,
    "evaluation.max_new_tokens": 4,
    # So that a busy machine is not taken for a fault.
    "deadlines.probe_s": 900.0,
}


@dataclass(frozen=True, kw_only=True)
class FaultTree:
    """The copy. Its runs land in it, so the checkout's own `submission_runs` stays as it is."""

    root: Path

    @property
    def runs(self) -> Path:
        """Where the copy keeps its runs."""
        return self.root / "submission_runs"

    @property
    def trains(self) -> bool:
        """Whether the child is the one that really trains."""
        return (self.root / "m43" / "training" / "train.py").exists()

    @property
    def profile(self) -> Path:
        """The profile of the runs in this copy."""
        return self.root / "acceptance" / "fault.toml"

    def folder_of(self, name: str) -> Path:
        """Give the folder of a run."""
        return self.runs / name

    def write_profile(self, **values: object) -> None:
        """Write the rehearsal's profile with other values; `__` stands for the dot of a key."""
        text = (self.root / "acceptance" / "rehearsal.toml").read_text()
        dotted = {name.replace("__", "."): value for name, value in values.items()}
        for key, value in {**SHORT, **dotted}.items():
            text = _with_value(text, key, value)
        self.profile.write_text(text)

    def sabotage(self, how: str) -> None:
        """Have the training child do damage; see `sabotage.py` for what it can do."""
        training = self.root / "m43" / "training"
        if not (training / "honest.py").exists():
            (training / "__main__.py").rename(training / "honest.py")
            shutil.copy2(_SABOTAGE, training / "__main__.py")
        (training / "misbehaviour").write_text(how)

    def with_quick_child(self) -> None:
        """Put a child in training's place that trains nothing and takes a moment."""
        self.write_profile(
            contract__optimizer_steps=300,
            training__batch_rows=8,
            evaluation__max_new_tokens=24,
        )
        training = self.root / "m43" / "training"
        shutil.rmtree(training)
        training.mkdir()
        (training / "__init__.py").write_text('"""The quick child."""\n')
        shutil.copy2(_QUICK_CHILD, training / "__main__.py")

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a Python command in the copy to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def copy_parts(repository: Path, root: Path) -> None:
    """Copy what a run needs, with the compiled files, so that it starts as fast."""
    root.mkdir()
    for name in _PARTS:
        source = repository / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, root / name)


def copy_tree(repository: Path, root: Path) -> FaultTree:
    """Make a copy in which a run can be started at once."""
    copy_parts(repository, root)
    tree = FaultTree(root=root)
    tree.write_profile()
    with (root / "m43" / "training" / "__init__.py").open("a") as file:
        file.write(_COMPILED.format(folder=str(FOLDER / "compiled")))
    return tree


def environment(**variables: str) -> dict[str, str]:
    """Give this process's environment without what concerns hub, Python or pytest."""
    hidden = ("HF_", "HUGGING_FACE_", "PYTEST_", "PYTHON")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    return kept | variables


def _with_value(text: str, key: str, value: object) -> str:
    table, _, name = key.rpartition(".")
    begin = text.index(f"[{table}]\n") if table else 0
    end = text.find("\n[", begin + 1)
    end = len(text) if end < 0 else end
    shown = f'"{value}"' if isinstance(value, str | Path) else str(value).lower()
    part, count = re.subn(
        rf"(?m)^{re.escape(name)} = .*$", lambda found: f"{name} = {shown}", text[begin:end]
    )
    if count != 1:
        raise ValueError(f"found {key} {count} times in the profile, expected it once")
    return text[:begin] + part + text[end:]
