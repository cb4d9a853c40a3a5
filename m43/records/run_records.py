"""The records: what each gate measured, as it stands on disk. Measurements only, no verdicts."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from m43.errors import FailureClass, ProblemsError
from m43.records.profile import MeshTable


class MalformedRecordError(ProblemsError):
    """A record that is missing, unreadable or not of its type."""

    failure_class = FailureClass.HARNESS_ERROR


# --- before the first gate ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EarlierAttempt:
    """One line of the ledger: an attempt that came before this one."""

    run: str
    kind: str
    started_utc: str


@dataclass(frozen=True, kw_only=True)
class OpeningRecord:
    """What was true before the first gate. `opening.json`."""

    run: str
    kind: Literal["production", "rehearsal"]
    started_utc: str
    m43_version: str
    commit: str  # of m43's checkout; "none" outside one
    profile: str
    profile_sha256: str
    # How the profile differs from the bundled one of its kind; empty means the locked decisions.
    profile_differences: tuple[str, ...]
    contract: str  # its folder in the working tree
    contract_name: str  # what the documents call it; "own" where it is the M43 contract no more
    # How the promises differ from those of the M43 contract.
    promise_differences: tuple[str, ...]
    contract_sha256: str
    promises: tuple[str, ...] = field(repr=False)
    train_rows_sha256: str
    eval_rows_sha256: str
    code_sha256: str  # of code.sha256, which names every file that judges the run
    plugins: tuple[str, ...]  # of pytest, beside its own
    tree_sha256: str
    tree_files: int
    attempts_of_this_run: int  # lines of the ledger under this run's name, this one included
    earlier_attempts: tuple[EarlierAttempt, ...] = field(repr=False)
    ledger_sha256: str  # the seal of this attempt's line, and so of every line before it
    unlisted_runs: tuple[str, ...]  # run folders of which the ledger has no line
    command: tuple[str, ...] = field(repr=False)
    # Paths of the working tree that the run itself writes by configuration, and that are therefore
    # not watched: a cache, the file that its output goes into.
    left_out: tuple[str, ...] = ()
    # Folders of the working tree that hold a pyvenv.cfg and count as virtual environments; what of
    # them the run uses is digested with the packages, the rest is not watched.
    environments: tuple[str, ...] = ()
    # Secrets by name that are also words: hidden in addresses, and not searched for in files.
    unsearched: tuple[str, ...] = ()
    # Of the tree of somebody's that an installed m43 ran in, whose commit then is "none"; empty
    # where m43's own checkout is the tree.
    tree_commit: str = ""  # "none" outside a git checkout
    tree_conftest_sha256: str = ""  # of its conftest.py where that is not the one that m43 writes
    m42: tuple[str, ...] = field(default=(), repr=False)  # submission_runs/m42*: "SHA-256  path"


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """The machine and the process that made the run. `vitals.json`, before the first gate."""

    boot_id: str  # of the machine's start; "not told" where the system does not say
    pid: int
    oom_kills: int  # the kernel's counter of kills for want of memory


@dataclass(frozen=True, kw_only=True)
class RecoveryRecord:
    """What a later m43 command found when it closed a run that was cut off. `recovery.json`."""

    closed_utc: str
    vitals: Vitals  # of the command that closed it
    journal_bytes_removed: int  # of a last line that was never finished
    removed: tuple[str, ...]  # unfinished files, which had no name of their own yet


# --- venv --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Origins:
    """What a child says that it runs; its parent digests it. Printed, or in a scratch file."""

    own: tuple[str, ...] = field(repr=False)  # m43's: "SHA-256  path", of the text that was run
    modules: tuple[str, ...] = field(repr=False)  # the files of all others
    libraries: tuple[str, ...] = field(repr=False)  # what else is mapped into it as machine code
    standard: str  # the folder of Python's standard library
    startup: tuple[str, ...]  # sitecustomize and usercustomize, where they were imported


@dataclass(frozen=True, kw_only=True)
class ImportedRecord:
    """What a child runs, digested by its parent. `train.imported.json`, `eval.imported.json`."""

    bytecode: Literal["compiled for this run", "as found"]
    files: tuple[str, ...] = field(repr=False)  # "SHA-256  path"; m43's from the repository on
    # How many of the files each distribution brought, by its name and version.
    distributions: Mapping[str, int] = field(repr=False)
    altered: tuple[str, ...]  # other than the RECORD of their distribution says
    unrecorded: tuple[str, ...]  # in no RECORD, and none of Python's or of the system's
    changed: tuple[str, ...]  # other than code.sha256 or the venv gate has them
    startup: tuple[str, ...]  # what somebody else had run before m43
    passed_over: tuple[str, ...]  # start-up files of the environment that were not run


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One optimizer step. A line of `training_metrics.jsonl`."""

    step: int  # from 1
    loss_nats: float  # mean over the supervised tokens of the step
    learning_rate: float
    gradient_norm: float  # before clipping
    padded_tokens: int  # positions computed
    real_tokens: int  # positions that are not padding
    supervised_tokens: int
    duration_s: float


def steps_sha256(steps: Iterable[StepMetrics]) -> str:
    """Digest what every process of a run must have computed alike; only their times differ."""
    lines = (
        f"{step.step} {step.loss_nats!r} {step.gradient_norm!r} {step.supervised_tokens}\n"
        for step in steps
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class TrainingProcess:
    """What a process of the training says of itself, when it has ended its work."""

    process: int  # from 0, as the launcher counts
    host: str
    devices: tuple[str, ...]  # of its own: "number platform:kind", as JAX numbers all
    profile_sha256: str  # of the locked profile, as it read it
    code_sha256: str  # of the listing of m43's files that it was given; empty where it was not
    packages_sha256: str  # of the RECORD of every distribution on its path
    train_rows_sha256: str
    base_weights_sha256: str
    steps_sha256: str  # of the loss, the gradient norm and the tokens of every step
    reloaded_sha256: str  # of the saved weights, as it read them back
    optimizer_steps: int
    peak_host_bytes: int  # of its own memory


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A named stretch of time in a child."""

    name: str
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class TrainRecord:
    """What the training child did. `train.json`, written by the child at its end."""

    backend: Literal["jax"]
    device: str  # platform:kind that holds the trained parameters
    devices: int  # how many of that kind hold them together
    mesh: MeshTable  # by which they share them, read from the arrays after the last step
    jax_version: str
    flax_version: str
    repo_config_sha256: str  # of the config.json that was read
    base_weights_sha256: str
    weights_dtypes: tuple[str, ...]  # that the base stores its tensors in; each is saved in its own
    model_sha256: str  # of the weights as saved
    reloaded_sha256: str  # of the weights read back from the saved folder and digested again
    method: Literal["full", "lora"]
    architecture: str  # of the saved model, as config.json names it
    parameters: int  # of the saved model, counted over its tensors
    trained_parameters: int  # all of the model's, or the adapters' beside it
    parameters_moved: int  # how many of the saved model's differ from the base, bit for bit
    optimizer_steps: int  # the counter in the optimizer's own state
    processes: tuple[TrainingProcess, ...]  # of all, in their order, each as it told the others
    train_rows_sha256: str
    rows_in_file: int
    rows_used: int
    epochs: float  # rows_used / rows_in_file
    phases: tuple[Phase, ...] = field(repr=False)
    peak_host_bytes: int
    peak_device_bytes: int  # 0 where the backend does not count
    left_out_parameters: int = 0  # of a multimodal base, and of nothing that was saved

    @property
    def left_out(self) -> str:
        """What became of the other parts of a multimodal base; empty where there are none."""
        if not self.left_out_parameters:
            return ""
        return (
            f"The base is multimodal: its other {self.left_out_parameters:,} parameters, the "
            "vision tower and what joins it to the text, were left out; the text model alone was "
            "trained and saved"
        )

    @property
    def kinds_of_process(self) -> frozenset[tuple[str, ...]]:
        """What each process ran and was given: code, packages, profile, rows, weights, devices."""
        return frozenset(
            (
                *(each.code_sha256, each.packages_sha256, each.profile_sha256),
                *(each.train_rows_sha256, each.base_weights_sha256),
                *sorted({device.partition(" ")[2] for device in each.devices}),
            )
            for each in self.processes
        )

    @property
    def computed_by_processes(self) -> frozenset[tuple[str, str, int]]:
        """What each process computed: its steps, the weights that were saved, and their count."""
        return frozenset(
            (each.steps_sha256, each.reloaded_sha256, each.optimizer_steps)
            for each in self.processes
        )


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """How a child ended, as its parent saw it. `train.process.json`, also for download and eval."""

    command: tuple[str, ...] = field(repr=False)
    exit_status: int  # negative: the signal that ended it
    duration_s: float
    peak_bytes: int  # ru_maxrss of the child
    ended_by_parent: Literal["no", "deadline", "silence", "interrupt"]
    oom_kills: int  # rise of the kernel's counter while the child ran
    last_phase: str
    steps_seen: int  # optimizer steps, rows, or bytes of a file, that the parent watched go by
    variables: tuple[str, ...] = field(repr=False)  # names in the child's environment
    xla_flags: tuple[str, ...] = field(repr=False)  # those of m43's that the child's jaxlib knows
    # What the card's driver wrote into the kernel's log while the child ran, and why that could
    # not be read; it is asked where a child on a card ends badly.
    card_lines: tuple[str, ...] = field(default=(), repr=False)
    kernel_log: str = "not asked"
    unwatched_s: float = 0.0  # of the duration: m43 itself was stopped, and read and saw nothing


@dataclass(frozen=True, kw_only=True)
class ChildError:
    """Why a child stopped by itself. `train.error.json`, `eval.error.json`."""

    failure_class: FailureClass
    problems: tuple[str, ...]
    step: int  # 0: before the first step


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Where a child is now. `train.heartbeat.json`, also for download and eval; replaced."""

    phase: str
    done: int
    total: int
    loss_nats: float  # 0 before the first step
    tokens_per_s: float
    beat: int  # rises by one each time, so that silence can be told from a stopped clock
    host_bytes: int = 0  # resident at this beat; 0 where the system does not say
    device_bytes: int = 0  # in use on the device at this beat; 0 where the backend does not count


# --- after the last gate -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ClosingRecord:
    """What is true after the last gate that ran. `closing.json`."""

    packages_sha256: str
    tree_sha256: str
    tree_files: int
    changed_paths: tuple[str, ...]  # of the working tree outside the run folder
    changed_packages: tuple[str, ...]
    model_sha256: str
    foreign_code: tuple[str, ...]  # of the harness's process: plugins and functions not m43's own
    judging_files: int  # of packages and of Python, that the harness's process had loaded
    altered: tuple[str, ...]  # of them: other than the RECORD of their distribution says
    unrecorded: tuple[str, ...]  # of them: in no RECORD, and none of Python's
    documents: tuple[str, ...]  # closing documents that lie in the run folder at that moment
    left_out: tuple[str, ...] = ()  # paths that were not watched, as opening.json names them
    m42: tuple[str, ...] = field(default=(), repr=False)  # as opening.json has it, afterwards


@dataclass(frozen=True, kw_only=True)
class NotedRecord:
    """What came up during a run and is judged by nobody. `noted.json`, where there is any."""

    warnings: tuple[str, ...]  # category, message and place of each, once
    stderr: tuple[str, ...]  # lines that were written to standard error, redacted
    left_out: int  # how many more there were of both
