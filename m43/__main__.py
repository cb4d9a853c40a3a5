"""The command line: `python -m m43 checklist | verify RUN_DIR | render RUN_DIR`."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from m43.errors import M43Error

REPOSITORY = Path(__file__).resolve().parent.parent


class NotARunError(M43Error):
    """A folder that holds no run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, call, and give the exit status: 0 well, 1 something does not hold, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # Under LC_ALL=C or in an old pipe a dash or a path may have no bytes of its own.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        return int(options.call(options))
    except M43Error as error:
        for line in error.lines:
            sys.stderr.write(f"m43: {line}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m43", description="Prove that a training run really happened."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checklist = commands.add_parser("checklist", help="could the run start here? Changes nothing")
    default = REPOSITORY / "acceptance" / "production.toml"
    checklist.add_argument("--m43-profile", type=Path, default=default, metavar="FILE")
    checklist.set_defaults(call=_checklist)
    for name, call, text in (
        ("verify", _verify, "recompute every claim of a run folder"),
        ("render", _render, "write a run folder's documents again from its records"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("run", type=Path, metavar="RUN_DIR")
        command.set_defaults(call=call)
    return parser


# Each command imports what it needs when it is called: verify must start without the packages
# that the gates use.
def _checklist(options: argparse.Namespace) -> int:
    from m43.harness.checklist import checklist

    text, ready = checklist(options.m43_profile, REPOSITORY)
    sys.stdout.write(text)
    return 0 if ready else 1


def _verify(options: argparse.Namespace) -> int:
    from m43.evidence.verify import verify

    _require_run(options.run)
    problems = verify(options.run, REPOSITORY)
    for problem in problems:
        sys.stdout.write(f"NOT SUPPORTED  {problem}\n")
    if problems:
        sys.stdout.write(f"{options.run}: {len(problems)} claims do not hold\n")
        return 1
    sys.stdout.write(f"{options.run}: every claim of this folder is supported by its records\n")
    return 0


def _render(options: argparse.Namespace) -> int:
    from m43.evidence.documents import render
    from m43.harness import recovery
    from m43.run_dir import RunDir

    _require_run(options.run)
    run = RunDir(options.run)
    if not recovery.is_closed(run):
        recovery.close_run(run)
        sys.stdout.write(f"{run.path}: it was cut off, and has been closed now\n")
    for path in render(run):
        sys.stdout.write(f"{path}\n")
    return 0


def _require_run(path: Path) -> None:
    """Refuse a folder that no run was ever made in."""
    if not (path / "journal.jsonl").is_file():
        raise NotARunError(
            found="no journal.jsonl",
            expected="a run folder",
            where=str(path),
            action="give the path of a run, such as submission_runs/m43_v1",
        )


if __name__ == "__main__":
    sys.exit(main())
