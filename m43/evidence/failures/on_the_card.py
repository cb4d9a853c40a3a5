"""What is said of known trouble with the card, its driver, its libraries and its compiler."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.failures.failure import CARD as _CARD
from m43.evidence.failures.failure import LOG as _LOG
from m43.evidence.failures.failure import Failure

_OWN_LIBRARIES = (
    "JAX's wheels bring their own CUDA and cuDNN: `unset LD_LIBRARY_PATH` in the shell that runs "
    "pytest (in WSL2 leave `/usr/lib/wsl/lib` in it)."
)
_KERNEL_LOG = (
    "`sudo dmesg -T | grep -i 'xid\\|nvrm'` shows what the driver said of the card, and when."
)
_RESTART = "Restart the machine: after such a fault a card may answer and still not compute."

ON_THE_CARD: Mapping[F, Failure] = {
    F.CUDA_LIBRARIES: Failure(
        sentence="CUDA or cuDNN libraries were loaded that do not belong to the JAX in {venv}.",
        cause="Libraries of another version come first on LD_LIBRARY_PATH.",
        confidence="hypothesis",
        others=(
            "The environment holds NVIDIA packages of two CUDA generations, or another version of "
            "them than JAX was built against.",
            "The driver was updated and the machine not restarted: its library and its kernel "
            "module are of two versions.",
            "The card's memory was taken: cuDNN needs some of its own beside JAX's.",
        ),
        actions=(
            _OWN_LIBRARIES,
            "`{venv}/bin/pip list | grep -i nvidia` must show packages of one CUDA only; if it "
            "shows two, make the environment again, from m43's checkout: `pip install '.[cuda13]'`",
            "`nvidia-smi` says 'Driver/library version mismatch'? Then restart the machine.",
        ),
    ),
    F.WSL_LIBRARIES: Failure(
        sentence="This is WSL2, and the NVIDIA driver, whose library Windows brings to "
        "/usr/lib/wsl/lib, was not found.",
        cause="/usr/lib/wsl/lib is not on the path on which libraries are looked for.",
        confidence="hypothesis",
        others=(
            "There is no NVIDIA driver for WSL on the Windows side.",
            "The distribution was started before the driver was installed.",
        ),
        actions=(
            "`ls /usr/lib/wsl/lib/libcuda.so.1`. If it is there: `export "
            "LD_LIBRARY_PATH=/usr/lib/wsl/lib` in the shell that runs pytest (or run `sudo "
            "ldconfig` with that folder in /etc/ld.so.conf.d).",
            "If it is not: install the NVIDIA driver in Windows, never inside WSL2, then `wsl "
            "--shutdown` from Windows and open WSL2 again.",
            "`/usr/lib/wsl/lib/nvidia-smi` must show the card.",
        ),
    ),
    F.CARD_BUSY: Failure(
        sentence="The card let no further program use it: CUDA says that it is busy or "
        "unavailable.",
        cause="Another program holds the card, or an earlier one has not let it go.",
        confidence="hypothesis",
        others=(
            "Where the driver does not tell the compute mode: it is one in which one program at a "
            "time may use the card.",
            "A fault of the card before this run has left it unusable until a restart.",
        ),
        actions=(
            _CARD + " `sudo fuser -v /dev/nvidia*` also shows those without memory.",
            "`nvidia-smi -q -d COMPUTE` shows the compute mode; `sudo nvidia-smi -c DEFAULT` lets "
            "several programs use the card.",
            _KERNEL_LOG,
        ),
    ),
    F.COMPUTE_MODE: Failure(
        sentence="The card's compute mode lets no further program use it.",
        cause="The card is in a compute mode in which one program at a time may use it, or none, "
        "and another program is there.",
        confidence="supported",
        actions=(
            "`sudo nvidia-smi -c DEFAULT` lets several programs use the card; on a machine of "
            "others, ask who set the mode.",
            _CARD,
        ),
    ),
    F.CARD_LOST: Failure(
        sentence="The card has fallen off the bus: the driver reaches it no more. Nothing that was "
        "on it is left.",
        cause="The power supply or its cable does not carry the card's peaks, or its slot, riser "
        "or link does not hold.",
        confidence="hypothesis",
        others=(
            "The card was too hot.",
            "The driver, or the firmware of the card or of the main board, has an error.",
        ),
        actions=(
            _KERNEL_LOG,
            "Shut the machine down and switch it off; then look at the power connectors, the slot, "
            "the temperatures.",
            "`sudo nvidia-smi -pl WATTS` lowers the power limit: a card that then stays is short "
            "of power.",
            _LOG,
        ),
    ),
    F.CARD_FAULT: Failure(
        sentence="The card reported a fault after {progress}, and the child process ended by it.",
        cause="A kernel of XLA or of a CUDA library reached for memory that is not its own.",
        confidence="hypothesis",
        others=(
            "The card's memory is damaged, or it is clocked higher than it holds.",
            "The driver is too old for this card or these libraries.",
        ),
        actions=(
            _KERNEL_LOG + " The number behind Xid says which fault: NVIDIA's list is 'Xid Errors'.",
            _RESTART,
            "Take any overclocking back, and try a newer driver or a newer patch release of JAX; "
            "then `python -m m43 checklist`.",
            _LOG,
        ),
    ),
    F.AUTOTUNER_FAILED: Failure(
        sentence="XLA's autotuner, which tries kernels on the card while it compiles, failed.",
        cause="An error of this XLA with this card: its kernels for new cards are the youngest "
        "(jax issues 33910 and 33715).",
        confidence="hypothesis",
        others=(
            "Another program held so much of the card that kernels could not be tried.",
            "The driver is older than the compiler's kernels ask for.",
        ),
        actions=(
            "Try the newest patch release of JAX in {venv}, or a newer driver, and look for this "
            "message among the open issues of JAX.",
            _CARD,
            _LOG,
        ),
    ),
    F.MEMORY_TAKEN: Failure(
        sentence="Less of the device's memory could be taken than the run was planned with; "
        "training did not begin.",
        cause="Another program has taken memory of the card since the plan was made.",
        confidence="supported",
        actions=(
            _CARD + " End what need not be there: a browser, a second run, a notebook.",
            "If it cannot be ended: {alternatives}",
        ),
    ),
    F.OUT_OF_MEMORY_COMPILING: Failure(
        sentence="The device ran out of memory while XLA compiled the step; no step was taken.",
        cause="On a card, XLA tries kernels on arrays of their real size, for which there was no "
        "room beside the weights.",
        confidence="hypothesis",
        others=("Another program took memory of the card after the plan was made.",),
        actions=(
            _CARD + " Close them; a desktop alone holds about 1 GiB.",
            "If nothing else was there, the step is too large for what is left beside the weights: "
            "{alternatives}",
            _LOG,
        ),
    ),
}
