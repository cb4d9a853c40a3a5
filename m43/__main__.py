"""The command line: `python -m m43 COMMAND`; without a command it says which there are."""

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path


def own_tree(folder: Path, m43: Path) -> Path:
    """Say which tree a command is about: m43's checkout, or else the nearest with a contract."""
    if not (m43 / "carried").is_dir():
        return m43.parent
    found = (each for each in (folder, *folder.parents) if (each / _PROMISES).is_file())
    return next(found, folder)


_PROMISES = Path("acceptance", "test_production.py")
REPOSITORY = own_tree(Path.cwd(), Path(__file__).resolve().parent)
RUNS = REPOSITORY / "submission_runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, call, return the exit status: 0 well, 1 something does not hold, 2 wrong usage."""
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
    from m43.records import NotARunError

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
    """Writes a command and its help on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        # argparse leaves out the sub-command indent.
        self._action_max_length = len("checklist") + 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m m43",
        formatter_class=_Help,
        description="Record a training run so that anybody can check it.",
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
        more_help = "; or a bundle of one, a zip file" if name == "verify" else ""
        command.add_argument(
            "run", type=Path, nargs="?", metavar="RUN_DIR", help=f"{_RUN_HELP}{more_help}"
        )
        command.set_defaults(call=call)
        if name == "verify":
            command.add_argument(
                "--without-weights",
                action="store_true",
                help="the folder was handed on without its weights: do not miss them",
            )
            command.add_argument(
                "--replay",
                type=int,
                default=0,
                metavar="N",
                help="answer N rows again with the saved weights (needs JAX), and say how many "
                "came out as recorded",
            )
            command.add_argument(
                "--public-key",
                type=Path,
                metavar="KEY",
                help="check the signature: with the signer's key in PEM, or OpenSSH's allowed "
                "signers",
            )
    _add_compare(commands)
    _add_seal(commands)
    _add_bundle(commands)
    _add_contracts(commands)
    return parser


def _add_contracts(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make a repository of your own ready for m43, by what is missing there"
    command = commands.add_parser(
        "init",
        help=text,
        description=f"{_sentence(text)} It shows that, and asks at a terminal before it writes; no "
        "line that is there is changed. Exit status 0: nothing is missing now; 1: something is.",
    )
    command.add_argument("--yes", action="store_true", help="write it, and do not ask")
    command.set_defaults(call=_init)
    text = "write a contract of your own beside acceptance/, to be changed"
    command = commands.add_parser("new", help=text, description=_sentence(text))
    command.add_argument("name", metavar="NAME", help="its folder, and what its documents go by")
    command.set_defaults(call=_new)


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


def _add_bundle(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "one zip file of a finished run folder, to hand over"
    command = commands.add_parser(
        "bundle",
        help=text,
        description="Write one zip file of a finished run folder, whatever its verdict, without "
        "its weights; the same folder gives the same bytes. It is searched for tokens first. Its "
        "size and SHA-256 are printed, and stand in a statement beside it, which `seal` signs; "
        "`verify` takes it.",
    )
    command.add_argument("run", type=Path, metavar="RUN_DIR", help=_RUN_HELP)
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to (default: NAME.zip beside the run folder)",
    )
    command.add_argument(
        "--with-weights",
        action="store_true",
        help="with the weights of the model, gigabytes of them",
    )
    command.set_defaults(call=_bundle)


_RUN_HELP = "a run folder, such as submission_runs/m43_v1"
_ABOUT_VERIFY = (
    "Needs neither JAX nor the packages of the gates. The verdict comes first. Exit status: 0 "
    "ACCEPTED, and every claim is supported; 3 NOT ACCEPTED, and every claim is supported; 1 some "
    "claims are not, each is named."
)


def _add_seal(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "sign a finished run folder, or a bundle of one, with a key of your own"
    command = commands.add_parser(
        "seal",
        help=text,
        description=f"{_sentence(text)} It is verified first. m43 makes no key; openssl does: "
        "openssl genpkey -algorithm ed25519 -out KEY.pem; "
        "openssl pkey -in KEY.pem -pubout -out KEY.pub.pem. A key of OpenSSH that you publish "
        "already does as well; it is checked against a file of allowed signers (ssh-keygen, -Y). "
        "Two lines are printed that somebody else may put a date on.",
    )
    command.add_argument(
        "run", type=Path, metavar="RUN_DIR", help=f"{_RUN_HELP}; or a bundle of one, a zip file"
    )
    command.add_argument(
        "--key", type=Path, required=True, metavar="KEY", help="your private key, PEM or OpenSSH"
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
        help="look at nothing; show what the summary will look like, each field by its name",
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
        description="Compile the real step from the model's shapes alone and print what a run "
        "takes, on this machine's CPU or on a card that need not be there. "
        "Exit status 0: it fits; 1: it does not.",
    )
    _add_profile(command)
    command.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="a folder with the model's config.json, or gemma-2-9b, gemma-3-4b, -12b or -27b "
        "(default: the contract's own shapes)",
    )
    command.add_argument(
        "--target",
        default="",
        metavar="DEVICE",
        help="cpu, rtx5090, h100, v5e or a file like those in m43/training/plan/targets "
        "(default: the contract's device); it needs the compiler (cuda13, libtpu), not the device",
    )
    command.add_argument(
        "--mesh",
        default="",
        metavar="AXES",
        help="fsdp=4, or fsdp=2,tensor=2: as many devices, arranged so (default: the profile's)",
    )
    command.add_argument("--json", action="store_true", help="for machines, as JSON")
    command.set_defaults(call=_plan)


# Each command imports what it needs when it is called: verify must start without the packages
# that the gates use.
def _checklist(options: argparse.Namespace) -> int:
    from m43.harness.commands import checklist

    if options.template:
        return checklist.template(options.m43_profile, options.m43_run, REPOSITORY, sys.stdout)
    return checklist.checklist(
        options.m43_profile, options.m43_run, REPOSITORY, sys.stdout, as_json=options.json
    )


def _plan(options: argparse.Namespace) -> int:
    from m43.harness.commands import plan

    return plan.plan(
        options.m43_profile,
        options.model,
        options.target,
        REPOSITORY,
        sys.stdout,
        as_json=options.json,
        mesh=options.mesh,
    )


def _verify(options: argparse.Namespace) -> int:
    from m43.harness.commands import run_folder

    return run_folder.verify(
        options.run,
        REPOSITORY,
        RUNS,
        sys.stdout,
        without_weights=options.without_weights,
        public_key=options.public_key,
        replay=options.replay,
    )


def _seal(options: argparse.Namespace) -> int:
    from m43.harness.commands import run_folder

    return run_folder.seal(options.run, options.key, REPOSITORY, RUNS, sys.stdout)


def _bundle(options: argparse.Namespace) -> int:
    from m43.harness.commands import run_folder

    return run_folder.bundle(
        options.run, options.out, RUNS, sys.stdout, with_weights=options.with_weights
    )


def _render(options: argparse.Namespace) -> int:
    from m43.harness.commands import run_folder

    return run_folder.render(options.run, RUNS, sys.stdout)


def _new(options: argparse.Namespace) -> int:
    from m43.harness.commands import new

    return new.new(options.name, REPOSITORY, sys.stdout)


def _init(options: argparse.Namespace) -> int:
    from m43.harness.commands import init

    return init.init(Path.cwd(), sys.stdin, sys.stdout, yes=options.yes)


def _compare(options: argparse.Namespace) -> int:
    from m43.harness.commands import run_folder

    return run_folder.compare(options.one, options.other, RUNS, sys.stdout, page=options.html)


if __name__ == "__main__":
    sys.exit(main())
