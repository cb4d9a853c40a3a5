"""An engineer: somebody with a checkout, a profile of their own, and a home that is new."""

import sys
from dataclasses import dataclass
from pathlib import Path

from m43.records.run_dir import RunDir
from tests.faults.tree import FaultTree
from tests.world.circumstances import Circumstance
from tests.world.namespace import Report, stage

RUN = "m43_v1"
_DEADLINES = {"auth_s": 60.0, "download_s": 120.0, "silence_s": 180.0}


@dataclass(frozen=True, kw_only=True)
class Engineer:
    """Somebody with a checkout, a profile of their own, and a home that is new."""

    tree: FaultTree
    folder: Path
    model: Path
    token: str

    @property
    def run(self) -> RunDir:
        """The run folder."""
        return RunDir(self.tree.folder_of(RUN))

    def write_profile(self, circumstance: Circumstance, *, quick: bool) -> None:
        """Write a production profile for the toy, with the circumstance's transport."""
        if quick:
            self.tree.with_quick_child()
        deadlines = {**_DEADLINES, **circumstance.deadlines}
        # The quick child takes the steps of the bundled profile.
        counts = {"contract__optimizer_steps": 300, "training__batch_rows": 8} if quick else {}
        self.tree.write_profile(
            kind="production",
            hub__endpoint="default",
            hub__transport=circumstance.transport,
            **counts,
            **{f"deadlines__{name}": value for name, value in deadlines.items()},
        )

    def go(self, circumstance: Circumstance, *commands: list[str], **served_as: object) -> Report:
        """Do what the README says, in that world; the hub may serve as another repository."""
        order = {
            "served_as": served_as,
            "circumstance": circumstance.name,
            "commands": commands,
            "folder": str(self.tree.root),
            "home": str(self.folder / "home"),
            "model": str(self.model),
            "token": self.token,
        }
        return stage(order, self.folder)

    def pytest(self, marker: str) -> list[str]:
        """Give the command of a run by the profile of one's own."""
        words = [sys.executable, "-m", "pytest", "acceptance", "-m", marker]
        return [*words, "--m43-profile", str(self.tree.profile), "--m43-run", RUN]

    def checklist(self) -> list[str]:
        """Give the command of the checklist."""
        words = [sys.executable, "-m", "m43", "checklist", "--json"]
        return [*words, "--m43-profile", str(self.tree.profile), "--m43-run", RUN]
