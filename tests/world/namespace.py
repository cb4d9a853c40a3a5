"""The namespaces: a network, mounts and processes of its own for each case."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_PATIENCE_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int | None
    output: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened in a world."""

    ended: tuple[Ended, ...]
    seen: tuple[tuple[str, str, str], ...]  # host, method and path of each request
    asked_resolver: tuple[str, ...]
    elsewhere: int  # connections to addresses that are nobody's
    left: tuple[str, ...]  # command lines of processes that were still there at the end


def require_namespaces() -> None:
    """Make sure that this machine lets a test have namespaces.

    Raises: AssertionError, which says what is needed: nothing is skipped.
    """
    try:
        answer = subprocess.run(
            [*_UNSHARE, "ip", "link", "set", "lo", "up"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        said = answer.stderr.strip() if answer.returncode else ""
    except OSError as error:
        said = str(error)
    assert not said, (
        f"found {said!r}, expected the right to make network, mount and process namespaces; "
        "run the world test as root, with unshare (util-linux) and ip (iproute2) installed"
    )


def stage(order: dict[str, Any], folder: Path) -> Report:
    """Run the commands of an order in a world of their own."""
    order_path, report_path = folder / "order.json", folder / "report.json"
    order_path.write_text(json.dumps(order))
    answer = subprocess.run(
        [
            *_UNSHARE,
            *(sys.executable, "-X", "faulthandler", "-m", "tests.world.stage"),
            *(str(order_path), str(report_path)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    # A signal prints nothing: the status tells it, and whether the report had been written.
    told_nothing = f"status {answer.returncode}, report written: {report_path.is_file()}"
    assert answer.returncode == 0, f"{told_nothing}\n{answer.stdout}{answer.stderr}"
    told = json.loads(report_path.read_text())
    return Report(
        ended=tuple(Ended(status=each["status"], output=each["output"]) for each in told["ended"]),
        seen=tuple((host, method, path) for host, method, path in told["seen"]),
        asked_resolver=tuple(told["asked_resolver"]),
        elsewhere=told["elsewhere"],
        left=tuple(told["left"]),
    )
