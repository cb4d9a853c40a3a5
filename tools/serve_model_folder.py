"""Serve a model folder by hand: `python -m tools.serve_model_folder --model FOLDER ...`."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from m43.errors import M43Error
from m43.rehearsal import ServedRepository
from tools.faulty_hub import Fault, FaultKind, FaultyHub

TOKEN_VARIABLE = "M43_HUB_TOKEN"


class HubNotStartedError(M43Error):
    """A hub that cannot be started as it was asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; exit with 2 when the folder, the token or the port is no good."""
    options = _parser().parse_args(arguments)
    try:
        hub = _hub(options)
    except M43Error as error:
        sys.stderr.write(f"{error}\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with hub:
        sys.stdout.write(_welcome(hub))
        sys.stdout.flush()
        stop.wait()
    sys.stdout.write(f"Closed after {len(hub.requests)} requests.\n")
    return 0


def _hub(options: argparse.Namespace) -> FaultyHub:
    # From the environment: an argument would stand in the process list for everybody to read.
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise HubNotStartedError(
            found="nothing",
            expected="the token that the hub shall accept",
            where=f"the variable {TOKEN_VARIABLE}",
            action=f"set it, such as {TOKEN_VARIABLE}=hf_anything",
        )
    repository = ServedRepository.from_folder(
        options.model, name=options.repo, revision=options.revision
    )
    try:
        return FaultyHub(
            repository=repository,
            token=token,
            fault=Fault(kind=FaultKind(options.fault), where=options.where),
            port=options.port,
        )
    except OSError as error:
        raise HubNotStartedError(
            found=str(error),
            expected="a free port",
            where=f"127.0.0.1:{options.port}",
            action="choose another with --port, or 0 for any",
        ) from error


def _welcome(hub: FaultyHub) -> str:
    repository = hub.repository
    size = sum(file.size_bytes for file in repository.files)
    return (
        f"{hub.endpoint} serves {repository.name} at {repository.revision}: "
        f"{len(repository.files)} files, {size} bytes.\n"
        f'In a profile:  [hub] endpoint = "{hub.endpoint}"\n'
        f"For any client of the hub:  HF_ENDPOINT={hub.endpoint} HF_TOKEN=${TOKEN_VARIABLE}\n"
        "Ctrl-C ends it.\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.serve_model_folder",
        description="Serve a model folder as the hub would, on the loopback interface.",
    )
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face model folder")
    parser.add_argument("--repo", type=_repo, required=True, help="its name, as OWNER/NAME")
    parser.add_argument("--revision", type=_commit, required=True, help="its commit, 40 hex digits")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free one")
    parser.add_argument(
        "--fault",
        choices=[str(kind) for kind in FaultKind],
        default=str(FaultKind.NONE),
        help="what goes wrong with this hub; nothing, if not given",
    )
    parser.add_argument(
        "--where", default="", help="part of the paths it goes wrong at, or the missing file's name"
    )
    return parser


def _repo(text: str) -> str:
    owner, slash, name = text.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected OWNER/NAME")
    return text


def _commit(text: str) -> str:
    if len(text) != 40 or not set(text) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 40 lower-case hex digits")
    return text


if __name__ == "__main__":
    sys.exit(main())
