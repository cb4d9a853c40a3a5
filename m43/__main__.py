"""The command line: `python -m m43 COMMAND`; without a command it says which there are."""

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RUNS = REPOSITORY / "submission_runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, call, and give the exit status: 0 well, 1 something does not hold, 2 wrong usage."""
    # These commands look at folders that nothing may be left in, not even compiled modules.
    sys.dont_write_bytecode = True
    if sys.warnoptions:
        # PYTHONWARNINGS=error would let a dependency's warning end a command, as it ends no gate.
        warnings.simplefilter("default")
    for stream in (sys.stdout, sys.stderr):
        # Under LC_ALL=C or in an old pipe a dash or a path may have no bytes of its own.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    from m43.errors import M43Error
    from m43.records.run_dir import NotARunError

    parser = _parser()
    options = parser.parse_args(arguments)
    if options.call is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return int(options.call(options))
    except M43Error as error:
        for line in error.lines:
            sys.stderr.write(f"m43: {line}\n")
        return 2 if isinstance(error, NotARunError) else 1
    except BrokenPipeError:
        # The reader of the pipe, such as head, has seen enough; nothing more can be said to it.
        sys.stderr.close()
        return 1


class _Help(argparse.HelpFormatter):
    """Gives a command and what it does one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        # It forgets that commands are indented once more than options.
        self._action_max_length = len("checklist") + 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m m43",
        formatter_class=_Help,
        description="Prove that a training run really happened.",
        epilog="The run itself: pytest acceptance -m production. "
        "The same, small, on this machine's CPU: pytest acceptance -m rehearsal.",
    )
    parser.set_defaults(call=None)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _add_checklist(commands)
    _add_plan(commands)
    for name, call, text, more in (
        ("verify", _verify, "recompute every claim of a run folder", _ABOUT_VERIFY),
        ("render", _render, "write a run folder's documents again from its records", ""),
    ):
        command = commands.add_parser(name, help=text, description=f"{_sentence(text)} {more}")
        # Asked for by `require_run`, which also says which runs there are.
        command.add_argument("run", type=Path, nargs="?", metavar="RUN_DIR", help=_RUN_HELP)
        command.set_defaults(call=call)
        if name == "verify":
            command.add_argument(
                "--without-weights",
                action="store_true",
                help="the folder was handed on without its weights: do not miss them",
            )
            command.add_argument(
                "--public-key",
                type=Path,
                metavar="PEM",
                help="the key of the person who signed the folder: check the signature",
            )
    _add_compare(commands)
    _add_seal(commands)
    return parser


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "hold two run folders against each other"
    more = "Promises, curves, answers gained and lost, environments: side by side, as Markdown."
    command = commands.add_parser("compare", help=text, description=f"{_sentence(text)} {more}")
    # As above: `require_run` says which runs there are.
    command.add_argument("one", type=Path, nargs="?", metavar="RUN_A", help=_RUN_HELP)
    command.add_argument("other", type=Path, nargs="?", metavar="RUN_B", help="another one")
    command.add_argument(
        "--html", type=Path, metavar="FILE", help="write it as a page too, with the curves drawn"
    )
    command.set_defaults(call=_compare)


_RUN_HELP = "a run folder, such as submission_runs/m43_v1"
_ABOUT_VERIFY = (
    "Needs neither JAX nor the packages of the gates. Exit status 0: every claim is supported; "
    "1: some are not, each is named."
)


def _add_seal(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "sign a finished run folder with a key of your own"
    command = commands.add_parser(
        "seal",
        help=text,
        description=f"{_sentence(text)} It is verified first. m43 makes no key; openssl does: "
        "openssl genpkey -algorithm ed25519 -out KEY.pem; "
        "openssl pkey -in KEY.pem -pubout -out KEY.pub.pem",
    )
    command.add_argument("run", type=Path, metavar="RUN_DIR", help=_RUN_HELP)
    command.add_argument(
        "--key", type=Path, required=True, metavar="PEM", help="your private key (Ed25519, say)"
    )
    command.set_defaults(call=_seal)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_checklist(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "could the run start here? It changes nothing"
    command = commands.add_parser(
        "checklist",
        help=text,
        description="Look at everything that can be known before a run: the token, the "
        "environment, the rows, the plan. Nothing is written and no attempt is used up. "
        "Exit status 0: the run could start; 1: it could not.",
    )
    _add_profile(command)
    command.add_argument(
        "--m43-run",
        default="",
        metavar="NAME",
        help="the name of the run folder (default: the profile's)",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the same for machines")
    form.add_argument(
        "--template",
        action="store_true",
        help="look at nothing; show what m43_summary.md will look like, each field by its name",
    )
    command.set_defaults(call=_checklist)


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--m43-profile",
        type=Path,
        default=REPOSITORY / "acceptance" / "production.toml",
        metavar="FILE",
        help="a profile of your own (default: acceptance/production.toml)",
    )


def _add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "what would the run take: memory, time, disk?"
    command = commands.add_parser(
        "plan",
        help=text,
        description="Compile the real step from the model's config.json alone and print what a run "
        "takes, on this machine's CPU or on a card that need not be there. "
        "Exit status 0: it fits; 1: it does not.",
    )
    _add_profile(command)
    command.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="a folder with the model's config.json (default: looked for in the cache)",
    )
    command.add_argument(
        "--target",
        default="",
        metavar="DEVICE",
        help="cpu, rtx5090, h100 or a file like those in m43/training/plan/targets "
        "(default: the contract's device); a card needs the extra cuda13, not the card",
    )
    command.add_argument("--json", action="store_true", help="for machines, as JSON")
    command.set_defaults(call=_plan)


# Each command imports what it needs when it is called: verify must start without the packages
# that the gates use.
def _checklist(options: argparse.Namespace) -> int:
    from m43.harness.commands.checklist import checklist, template

    if options.template:
        return template(options.m43_profile, options.m43_run, REPOSITORY, sys.stdout)
    return checklist(
        options.m43_profile, options.m43_run, REPOSITORY, sys.stdout, as_json=options.json
    )


def _plan(options: argparse.Namespace) -> int:
    from m43.harness.commands.plan import plan

    return plan(
        options.m43_profile,
        options.model,
        options.target,
        REPOSITORY,
        sys.stdout,
        as_json=options.json,
    )


def _verify(options: argparse.Namespace) -> int:
    from m43.evidence.verify.verify import verify
    from m43.records.run_dir import require_run

    require_run(options.run, RUNS)
    problems = verify(
        options.run,
        REPOSITORY,
        without_weights=options.without_weights,
        public_key=options.public_key,
    )
    for problem in problems:
        sys.stdout.write(f"NOT SUPPORTED  {problem}\n")
    if problems:
        sys.stdout.write(f"{options.run}: {len(problems)} claims do not hold\n")
        return 1
    sys.stdout.write(f"{options.run}: every claim of this folder is supported by its records\n")
    sys.stdout.write(f"{options.run}: {_signed(options.run, options.public_key)}\n")
    return 0


def _signed(run: Path, public_key: Path | None) -> str:
    from m43.records.run_dir import RunDir

    if public_key is not None:
        return f"signed by the key of {public_key}"
    if RunDir(run).signature.exists():
        return "its signature was not checked; give --public-key, from a source that you trust"
    return "not signed; what that leaves open stands in its summary"


def _seal(options: argparse.Namespace) -> int:
    from m43.harness.commands.sign import seal
    from m43.records.run_dir import require_run

    require_run(options.run, RUNS)
    for line in seal(options.run, options.key, REPOSITORY):
        sys.stdout.write(f"{line}\n")
    return 0


def _render(options: argparse.Namespace) -> int:
    from m43.evidence.documents.write import render
    from m43.harness.run import recovery
    from m43.records.run_dir import require_run

    run = require_run(options.run, RUNS)
    if recovery.is_closed(run):
        # The report is pytest's, and sealed; only one that nobody could seal is drawn again.
        recovery.seal_left_reports(run)
    else:
        recovery.close_run(run)
        sys.stdout.write(f"{run.path}: it was cut off, and has been closed now\n")
    for path in (*render(run), run.report):
        sys.stdout.write(f"{path}\n")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from m43.evidence.documents.comparison import comparison_html, comparison_markdown
    from m43.evidence.run.comparison import compare
    from m43.evidence.run.loaded_run import load_run
    from m43.records.run_dir import require_run, write_atomically

    one, other = (require_run(path, RUNS) for path in (options.one, options.other))
    found = compare(load_run(one), load_run(other))
    if options.html:
        write_atomically(options.html, comparison_html(found).encode(errors="replace"))
    sys.stdout.write(comparison_markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
