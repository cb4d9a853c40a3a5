"""What is said about the failures of the environment, the device, the data and the run itself."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.failures.failure import CARD as _CARD
from m43.evidence.failures.failure import LOG as _LOG
from m43.evidence.failures.failure import Failure

_ROWS = (
    "Correct the rows named above (file, line and reason stand there): {train_rows}, {eval_rows}."
)

ON_THE_MACHINE: Mapping[F, Failure] = {
    F.NO_VENV: Failure(
        sentence="There is no virtual environment at {venv}.",
        actions=(
            "Make the environment at {venv}, or correct `venv.path` in {profile}.",
            "`python3.11 -m venv {venv}`, then install m43's extra `cuda13` into it, from a "
            "checkout of m43: `{venv}/bin/pip install '.[cuda13]'`",
        ),
    ),
    F.BROKEN_VENV: Failure(
        sentence="The virtual environment at {venv} does not work.",
        cause="Two packages do not fit together, or one is damaged.",
        confidence="hypothesis",
        actions=(
            "See the error yourself: `{venv}/bin/python -c 'import jax; print(jax.devices())'`",
            "A virtual environment that was moved or whose Python was removed must be made again.",
        ),
    ),
    F.PACKAGE_MISMATCH: Failure(
        sentence="The environment at {venv} lacks packages that training needs, or holds other "
        "versions of them.",
        actions=(
            "Bring the environment to what training needs, yourself: "
            "`{venv}/bin/pip install '.[cuda13]'` from a checkout of m43. Unmet: {requirements}",
            "Look at what else uses this environment before you change it.",
        ),
    ),
    F.OTHER_CODE: Failure(
        sentence="What ran, or would have run, is other code than was digested: a package's file "
        "differs from its wheel, no wheel brought it, or it changed while the run was on.",
        promises=(
            "test_venv_loads_packages_as_their_wheels_brought_them",
            "test_train_runs_the_code_that_was_digested",
            "test_train_loads_packages_as_their_wheels_brought_them",
            "test_eval_runs_the_code_that_was_digested",
            "test_eval_loads_packages_as_their_wheels_brought_them",
            "test_closing_finds_the_code_of_m43_in_its_place",
            "test_closing_judges_with_packages_as_their_wheels_brought_them",
        ),
        actions=(
            "Look at the files that are named, and make {venv} again from its wheels: pip and uv "
            "write a RECORD of every file. A package that is edited in place, or put beside them "
            "by hand, is no evidence of anything.",
            "A file that changed during the run was written by somebody: leave packages and "
            "checkout alone while a run is on.",
        ),
    ),
    F.WRONG_DEVICE: Failure(
        sentence="Training was promised on {promised_device}; what computes here is {device}. "
        "There is no fallback.",
        promises=(
            "test_train_uses_jax_on_the_device_of_the_environment",
            "test_train_runs_on_as_many_devices_as_promised",
            "test_eval_runs_where_training_ran",
        ),
        actions=(
            _CARD,
            "`{venv}/bin/python -c 'import jax; print(jax.devices())'` must name "
            "{promised_device}.",
            "Look at CUDA_VISIBLE_DEVICES and JAX_PLATFORMS in your shell, and whether the plugin "
            "`jax-cuda13-plugin` is installed in the same version as `jax`.",
        ),
    ),
    F.CARD_UNKNOWN: Failure(
        sentence="JAX says that it computes on {promised_device}; the card's driver, asked by its "
        "own library (NVML), does not know such a card.",
        cause="The driver's library is hidden, as in a container that was given CUDA alone.",
        confidence="hypothesis",
        others=(
            "What JAX calls by that name is another device: its packages, or a plugin among them, "
            "say so.",
            "The driver has stopped answering.",
        ),
        promises=("test_venv_finds_the_card_by_its_driver_as_well",),
        actions=(
            "`nvidia-smi -L` must name {promised_device} where pytest runs. In a container "
            "NVIDIA_DRIVER_CAPABILITIES has to hold `utility` beside `compute`.",
            "If there is no such card in this machine, make {venv} again from its wheels.",
        ),
    ),
    F.DRIVER_TOO_OLD: Failure(
        sentence="The NVIDIA driver {driver} is too old for the installed CUDA packages.",
        actions=(
            "Install an NVIDIA driver of 580 or newer (CUDA 13), or the packages of CUDA 12 "
            "(driver 525 or newer).",
            _CARD,
        ),
    ),
    F.NATIVE_WINDOWS: Failure(
        sentence="This is native Windows, where JAX has no CUDA support.",
        actions=("Open WSL2 (Ubuntu) on the same machine and make the run there.",),
    ),
    F.NUMERIC_CANARY: Failure(
        sentence="The device computes wrong numbers, so nothing trained on it would mean anything.",
        cause="The compiler, the driver or the card computes wrongly; which one is not known.",
        confidence="unknown",
        actions=(
            "Do not train on this device as it is. Compare what the checks found, JAX, driver and "
            "card with the known issues of JAX: 40633 (operations one by one, and steps from the "
            "second on; reported of jax 0.11.0 and 0.11.1 on an RTX A6000, where 0.10.2 was "
            "right), 33910 (the autotuner on an RTX 5090), 32430 (attention by cuDNN on CUDA 13).",
            "Try a newer driver, or a newer patch release of JAX, and run `python -m m43 "
            "checklist`.",
        ),
    ),
    F.PLAN_DOES_NOT_FIT: Failure(
        sentence="The planned training does not fit the memory or the disk.",
        actions=(
            "Free what the gate says is lacking (memory of the device, of the machine, or disk).",
            "If it cannot be freed: {alternatives}",
            _CARD,
        ),
    ),
    F.DATA_INVALID: Failure(
        sentence="The rows to train on or to evaluate are missing or malformed.",
        promises=("test_train_learns_from_answers_at_every_step",),
        actions=(_ROWS,),
    ),
    F.MODEL_INVALID: Failure(
        sentence="The model's files are missing or malformed.",
        actions=(
            "Read which file and which tensor or key is named above, and compare it with the "
            "pinned revision of {repo}.",
        ),
    ),
    F.OUT_OF_DEVICE_MEMORY: Failure(
        sentence="The device ran out of memory after {progress}.",
        actions=(
            _CARD + " Close them; a desktop alone holds about 1 GiB.",
            "If nothing else was there, the batch of {batch_rows} rows is too large for the card: "
            "that is a change of the profile, and will be listed as one.",
            _LOG,
        ),
    ),
    F.OUT_OF_HOST_MEMORY: Failure(
        sentence="The machine ran out of memory after {progress}, and the kernel ended the child "
        "process.",
        actions=(
            "`dmesg | grep -i oom` names the process that the kernel ended, and its size.",
            "Close other programs or add memory or swap before a new run.",
        ),
    ),
    F.KILLED: Failure(
        sentence="The child process was ended from outside ({ending}) after {progress}.",
        actions=(
            "`dmesg | tail` and `journalctl -k -e` may tell who sent the signal.",
            "In a container or a batch system, look at its memory and time limits.",
            _LOG,
        ),
    ),
    F.NON_FINITE_LOSS: Failure(
        sentence="The loss was no longer a number after {progress}; training stopped at once.",
        actions=(
            "Look at the last steps in training_metrics.jsonl: did loss or gradient norm grow "
            "first? Then the learning rate is too high; at step 1 a weight or a row is at fault.",
            "Another learning rate is a change of the profile, and will be listed as one.",
        ),
    ),
    F.DIVERGED: Failure(
        sentence="The loss grew instead of falling; training stopped after {progress}.",
        actions=(
            "Look at loss and gradient norm in training_metrics.jsonl; a lower learning rate or a "
            "longer warm-up is a change of the profile, and will be listed as one.",
        ),
    ),
    F.PROCESSES_MISSING: Failure(
        sentence="The processes of the run did not all come together.",
        cause="The launcher failed, started fewer than were promised, or they cannot reach the "
        "first one.",
        confidence="hypothesis",
        actions=(
            "`{launcher} hostname` must print a line for each of the {processes} processes, by "
            "itself, within seconds.",
            "Every host must reach the address and port that is named above: a firewall, or a host "
            "name that leads to 127.x in /etc/hosts, keeps them apart.",
            _LOG,
        ),
    ),
    F.PROCESS_LOST: Failure(
        sentence="A process of the run was lost after {progress}, and the others were ended.",
        cause="A process that leaves no record was killed, or its host or network failed.",
        confidence="hypothesis",
        actions=(
            "Look at the host of the process that left no record: `dmesg | tail` there, and the "
            "scheduler's account of its memory and time.",
            _LOG,
        ),
    ),
    F.PROCESSES_DISAGREE: Failure(
        sentence="The processes of the run are not alike, so that what they compute together "
        "would mean nothing.",
        promises=(
            "test_train_is_done_by_as_many_processes_as_promised",
            "test_train_processes_are_alike",
            "test_train_processes_compute_the_same",
        ),
        actions=(
            "Let every host see one and the same checkout, environment, rows and run folder, at "
            "the same paths, and have the launcher start {processes} processes: `{launcher}`.",
        ),
    ),
    F.TIMED_OUT: Failure(
        sentence="The time was over after {progress}.",
        cause="The device is slower than the plan, or something else used it.",
        confidence="hypothesis",
        promises=("test_train_stays_within_its_time",),
        actions=(
            "Look at the seconds per step in training_metrics.jsonl: slow from the first step "
            "(wrong device, other programs on it), or slower and slower (heat)?",
            _CARD,
        ),
    ),
    F.HUNG: Failure(
        sentence="The child process gave no sign of life for {silence_s} s after {progress}, and "
        "was ended.",
        cause="What it waited for is not recorded.",
        confidence="unknown",
        actions=(_LOG, _CARD + " A driver that has crashed says so in `dmesg | grep -i xid`."),
    ),
    F.DISK_FULL: Failure(
        sentence="The disk was full after {progress}.",
        hint="free space for the Hugging Face cache",
        actions=(
            "`df -h` shows the full disk, `df -i` one that takes no further file; free some room "
            "there before a new run.",
        ),
    ),
    F.NOT_WRITABLE: Failure(
        sentence="The run folder could no longer be written to after {progress}.",
        actions=(
            "Look whether the run folder is still there, at its owner and mode, and whether its "
            "file system is mounted read-only (`findmnt -T submission_runs`): a disk that fails is "
            "remounted so.",
        ),
    ),
    F.PROCESS_LIMIT: Failure(
        sentence="The system refused a further process or thread after {progress}.",
        cause="The shell, the container or the user may have only few of them.",
        confidence="hypothesis",
        actions=(
            "`ulimit -u` and the container's pids.max say how many are allowed; a run takes a "
            "handful of processes and, in JAX, some dozens of threads.",
        ),
    ),
    F.INTERRUPTED: Failure(
        sentence="The run was interrupted after {progress}.",
        actions=(
            "If you interrupted it yourself, nothing is wrong.",
            "If not: `last -x | head`, `dmesg | tail` and `journalctl -b -1 -e` tell of power "
            "loss, signals and restarts.",
        ),
    ),
    F.EVALUATION_INCOMPLETE: Failure(
        sentence="The evaluation did not answer and score every row.",
        promises=(
            "test_eval_answers_every_row_once",
            "test_eval_scores_every_row",
        ),
        actions=(
            "Count the lines of predictions.jsonl against {eval_rows}.",
            _LOG,
        ),
    ),
    F.ENVIRONMENT_CHANGED: Failure(
        sentence="Packages of the environment changed while the run was on.",
        promises=("test_closing_finds_the_environment_unchanged",),
        actions=(
            "Find out what installs into {venv} while a run is on (an editor, a second shell, a "
            "cron job), and stop it.",
        ),
    ),
    F.TREE_CHANGED: Failure(
        sentence="Files outside the run folder, or sealed ones, changed while the run was on.",
        promises=(
            "test_train_uses_the_rows_that_were_given",
            "test_eval_reads_the_evaluation_file_that_was_given",
            "test_closing_finds_the_working_tree_unchanged",
            "test_closing_finds_the_trained_model_unchanged",
        ),
        actions=(
            "`git status` and `git diff` show what changed. Leave the working tree alone while a "
            "run is on.",
        ),
    ),
    F.PROMISE_BROKEN: Failure(
        sentence="The gate ended, but what it measured is not what was promised.",
        actions=("Compare expected and measured in the table of promises below.",),
    ),
    F.PROFILE_INVALID: Failure(
        sentence="The profile cannot be used.",
        actions=("Correct {profile} as the problems above say.",),
    ),
    F.HARNESS_ERROR: Failure(
        sentence="m43 itself met something that it did not foresee; this says nothing about the "
        "model or the machine.",
        promises=("test_auth_belongs_to_the_only_attempt_under_this_name",),
        actions=(
            "Read the problems and the excerpt; report them with this folder as an issue of m43.",
            "`pytest {contract} -m rehearsal` tells whether m43 works on this machine at all.",
        ),
    ),
}
