"""The pods of tools/kubernetes/job.yaml, as processes of this machine.

    python -m tests.launch.pods COMMAND...

Of the manifest each has the variables and the command's first words, with a number of its own; the
COMMAND takes the place of the manifest's. What this leaves out: the kubelet, the names of the
Service, the volume, the Job's policies.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MANIFEST = Path(__file__).parents[2] / "tools" / "kubernetes" / "job.yaml"
# Where the first pod is met on this machine, in place of its name in a cluster.
_HERE = {"m43-0.m43:8476": "127.0.0.1:28476"}


def job() -> dict[str, Any]:
    """Read the Job's part of the manifest."""
    parts = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    (found,) = [part for part in parts if part["kind"] == "Job"]
    return dict(found["spec"])


def container() -> dict[str, Any]:
    """Return what each pod runs."""
    (found,) = job()["template"]["spec"]["containers"]
    return dict(found)


def variables(number: int, calls: Path) -> dict[str, str]:
    """Return what Kubernetes would set in a pod, but the token: a rehearsal has its own."""
    # Source: Kubernetes, "Indexed Job": the annotation holds the pod's number.
    told = {
        "metadata.annotations['batch.kubernetes.io/job-completion-index']": str(number),
        "metadata.labels['batch.kubernetes.io/controller-uid']": "a-job",
    }
    found = {}
    for each in container()["env"]:
        source = each.get("valueFrom", {})
        if "value" in each:
            found[each["name"]] = _HERE.get(each["value"], each["value"])
        elif "fieldRef" in source:
            found[each["name"]] = told[source["fieldRef"]["fieldPath"]]
    found["M43_CALLS"] = found["M43_CALLS"].replace("/m43/calls/$(JOB_UID)", str(calls))
    return found


@contextlib.contextmanager
def others(calls: Path, folder: Path) -> Iterator[None]:
    """Have all pods but the first, and end them."""
    words = [sys.executable, *container()["command"][1:], "a-command-of-the-first"]
    started = [
        subprocess.Popen(
            words, cwd=folder, env=os.environ | variables(number, calls), start_new_session=True
        )
        for number in range(1, job()["completions"])
    ]
    try:
        yield
        for each in started:
            each.wait(30)
    finally:
        for each in started:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait()


def main(command: list[str]) -> int:
    """Run a command in the first pod, and return its status."""
    words = [sys.executable, *container()["command"][1:], *command]
    with tempfile.TemporaryDirectory(prefix="m43-pods-") as name:
        calls = Path(name) / "a-job"
        with others(calls, Path.cwd()):
            environment = os.environ | variables(0, calls)
            return subprocess.run(words, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
