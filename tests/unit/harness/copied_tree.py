"""A copy of the repository in which whole runs of pytest can be made without touching this one."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PARTS = ("m43", "acceptance", "conftest.py", "pytest.ini", "pyproject.toml")
_QUICK_CHILD = Path(__file__).with_name("quick_child.py")
_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class CopiedTree:
    """The copy, and pytest started in it."""

    root: Path

    @property
    def runs(self) -> Path:
        """Where the copy keeps its runs."""
        return self.root / "submission_runs"

    def misbehave(self, how: str) -> None:
        """Tell the quick child what to do wrong."""
        (self.root / "m43" / "training" / "misbehaviour").write_text(how)

    @property
    def enough(self) -> Path:
        """The file whose coming ends a training that `train_until_enough` made long."""
        return self.root.with_name("enough")

    def train_until_enough(self) -> None:
        """Have the quick child take its steps slowly until it is told that it is enough."""
        self.misbehave(f"until {self.enough}")

    def command(self, *arguments: str) -> list[str]:
        """Give the command line of a run."""
        # These plugins of the machine have nothing to do with a run and cost half a second.
        return [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        """Give this process's environment without what concerns hub, Python or pytest."""
        hidden = ("HF_", "HUGGING_FACE_", "PYTEST_", "PYTHON")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
        return kept | variables

    def pytest(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in the copy to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )


def copy_tree(repository: Path, root: Path) -> CopiedTree:
    """Copy what a run needs, and put the quick child in training's place."""
    root.mkdir()
    for name in _PARTS:
        source = repository / name
        if source.is_dir():
            # With the compiled files, so that the copy starts as fast as the original.
            shutil.copytree(source, root / name)
        else:
            shutil.copy2(source, root / name)
    training = root / "m43" / "training"
    shutil.rmtree(training)
    training.mkdir()
    (training / "__init__.py").write_text('"""The quick child."""\n')
    shutil.copy2(_QUICK_CHILD, training / "__main__.py")
    return CopiedTree(root=root)
