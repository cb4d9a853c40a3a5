"""The child that talks to the hub: asks, or fetches, and prints what came of it as JSON lines.

A process of its own, so that m43's deadlines hold whatever the hub, the network, the resolver or a
transport in native threads does; and so that what the client prints, warns of or leaves behind
reaches nobody else.
"""

import argparse
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from m43 import typed_json
from m43.evidence.contract import cause_names
from m43.harness.gates.hub_exchange import Failed, HubRequest, failure_words
from m43.harness.run import shell_secrets
from m43.records import Heartbeat, read_record, write_record

DONE, FAILED = 0, 3


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m m43.harness.gates.hub_child", description=__doc__
    )
    parser.add_argument("job", choices=("ask", "fetch"))
    parser.add_argument("request", type=Path, metavar="REQUEST")
    options = parser.parse_args(arguments)
    # The parent asks for the stacks of a child that it has to end.
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    request = read_record(options.request, HubRequest)
    work = _ask if options.job == "ask" else _fetch
    # The passwords of proxies as well: what is shortened here is not found any more where it comes.
    secrets = shell_secrets(os.environ).secrets
    try:
        return work(request, os.environ.pop("HF_TOKEN"), secrets)
    except Exception as error:  # noqa: BLE001 (a client that cannot even start is an answer, too)
        text = failure_words(error, secrets)
        _print(Failed(name="", text=text, causes=cause_names(error), status=0, host=""))
        return FAILED


def _ask(request: HubRequest, token: str, secrets: Sequence[str]) -> int:
    # Here and not above: the client may be what fails, at its import already.
    from m43.harness.gates.hub_questions import ask

    _print(ask(request, token, tell=_print, secrets=secrets))
    return DONE


def _fetch(request: HubRequest, token: str, secrets: Sequence[str]) -> int:
    from m43.harness.gates.hub_files import FetchFailedError, fetch

    def beat(heartbeat: Heartbeat) -> None:
        if request.heartbeat:
            write_record(Path(request.heartbeat), heartbeat)

    try:
        _print(fetch(request, token, secrets=secrets, beat=beat))
    except FetchFailedError as error:
        _print(error.failed)
        return FAILED
    return DONE


def _print(value: object) -> None:
    sys.stdout.write(typed_json.dump_line(value))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
