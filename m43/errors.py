"""The errors of m43: each says what was found, what was expected, where, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from m43.text import one_line

# What a person is shown: more would bury the rest, and be no help in mending it.
_MOST_SHOWN, _LONGEST_PART, _LONGEST_VALUE = 100, 4000, 80


class FailureClass(StrEnum):
    """The named ways in which a run can fail; `failure_analysis.md` opens with one of them."""

    NO_TOKEN = "no token"
    TOKEN_MALFORMED = "token malformed"
    TOKEN_REFUSED = "token refused"
    LICENCE_NOT_ACCEPTED = "licence not accepted"
    TOKEN_WITHOUT_GATED_ACCESS = "fine-grained token without gated access"
    WRONG_REVISION = "wrong revision"
    FILES_MISSING = "pinned file missing at the hub"
    WRONG_MODEL = "wrong model"
    HUB_UNREACHABLE = "hub unreachable"
    NAME_NOT_RESOLVED = "host name not resolved"
    CERTIFICATE_NOT_TRUSTED = "certificate not trusted"
    PROXY_FAILED = "proxy failed"
    OFFLINE_MODE = "offline mode"
    NOT_THE_HUB = "not the hub's answer"
    CONNECTION_LOST = "connection lost"
    TRANSFER_STALLED = "transfer stalled"
    CACHE_UNUSABLE = "cache cannot be used"
    HUB_CLIENT_FAILED = "hub client failed"
    RATE_LIMITED = "rate limited"
    HUB_ERROR = "hub error"
    DOWNLOAD_CORRUPT = "downloaded file differs from the pinned one"
    NO_VENV = "no venv"
    BROKEN_VENV = "broken venv"
    PACKAGE_MISMATCH = "package missing or mismatched"
    OTHER_CODE = "other code than was digested"
    WRONG_DEVICE = "wrong device or CPU fallback"
    CARD_UNKNOWN = "card that its driver does not know"
    DRIVER_TOO_OLD = "driver too old"
    CUDA_LIBRARIES = "CUDA libraries of another version"
    WSL_LIBRARIES = "WSL2 without the driver's library"
    CARD_BUSY = "card busy"
    COMPUTE_MODE = "card in an exclusive compute mode"
    CARD_LOST = "card lost"
    CARD_FAULT = "card reported a fault"
    AUTOTUNER_FAILED = "XLA autotuner failed"
    NATIVE_WINDOWS = "native Windows"
    NUMERIC_CANARY = "wrong numbers from the device"
    PLAN_DOES_NOT_FIT = "plan does not fit memory or disk"
    MEMORY_TAKEN = "device memory taken since the plan"
    DATA_INVALID = "data missing or malformed"
    MODEL_INVALID = "model files missing or malformed"
    OUT_OF_DEVICE_MEMORY = "out of device memory"
    OUT_OF_MEMORY_COMPILING = "out of device memory while compiling"
    OUT_OF_HOST_MEMORY = "out of host memory"
    KILLED = "killed"
    NON_FINITE_LOSS = "non-finite loss"
    DIVERGED = "diverged"
    PROCESSES_MISSING = "a process never came"
    PROCESS_LOST = "a process was lost"
    PROCESSES_DISAGREE = "processes disagree"
    TIMED_OUT = "timed out"
    HUNG = "hung"
    DISK_FULL = "disk full"
    NOT_WRITABLE = "run folder not writable"
    PROCESS_LIMIT = "too few processes allowed"
    INTERRUPTED = "interrupted"
    EVALUATION_INCOMPLETE = "evaluation incomplete"
    ENVIRONMENT_CHANGED = "environment changed during the run"
    TREE_CHANGED = "working tree changed during the run"
    PROMISE_BROKEN = "promise broken"
    PROFILE_INVALID = "profile invalid"
    HARNESS_ERROR = "harness error"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, in the four parts that a person needs to mend it."""

    found: str
    expected: str
    where: str
    action: str

    def __str__(self) -> str:
        # One line of plain text: all four may quote a file or the answer of a hub.
        parts = (self.where, self.found, self.expected, self.action)
        where, found, expected, action = (_said(part) for part in parts)
        words = f"{where or 'm43'}: found {found or 'nothing'}, expected {expected or 'nothing'}"
        return f"{words}; {action}" if action else words


def _said(part: str) -> str:
    # Some errors have a name and no message: what would follow the colon is not there.
    return one_line(part, _LONGEST_PART).removesuffix(":")


def problem(found: object, expected: object, where: object, action: str) -> Problem:
    """Make a problem; what a file's problems have in common is bound once, by `partial`.

    Example:
        >>> from functools import partial
        >>> altered = partial(problem, action="do not rely on this file")
        >>> str(altered("2 lines", "3 lines", "a.txt"))
        'a.txt: found 2 lines, expected 3 lines; do not rely on this file'
    """
    return Problem(found=str(found), expected=str(expected), where=str(where), action=action)


def differences(
    pairs: Mapping[str, tuple[object, object]], where: str, action: str, source: str = ""
) -> Iterator[Problem]:
    """Compare what was found with what was expected, name by name, in one file.

    Args:
        pairs: by the name of the value, what was found and what was expected.
        where: the file, or a row of it.
        action: what to do about each difference.
        source: where the expected values come from, ", as in contract.lock.json".
    """
    for name, (found, expected) in pairs.items():
        if found != expected:
            yield problem(_value(found), _value(expected) + source, f"{where}, {name}", action)


def _value(value: object) -> str:
    # Text in quotes and not longer than one reads: it may be an answer of a model.
    return repr(value[:_LONGEST_VALUE]) if isinstance(value, str) else str(value)


class M43Error(Exception):
    """The root of every error that m43 raises on purpose."""

    failure_class: ClassVar[FailureClass] = FailureClass.HARNESS_ERROR

    def __init__(self, *, found: str, expected: str, where: str, action: str) -> None:
        self.problems: tuple[Problem, ...] = (
            Problem(found=found, expected=expected, where=where, action=action),
        )
        super().__init__(str(self.problems[0]))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each problem on a line, as a person is shown them; very many are counted."""
        return shown(self.problems)


class ProblemsError(M43Error):
    """Several problems found in one pass, told together so that one correction suffices."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("ProblemsError needs at least one problem")
        Exception.__init__(self, "\n".join(shown(problems)))
        self.problems = tuple(problems)


class GateStoppedError(M43Error):
    """A gate could not finish; the class says why and the record beside it holds the facts."""

    def __init__(
        self, failure_class: FailureClass, *, found: str, expected: str, where: str, action: str
    ) -> None:
        super().__init__(found=found, expected=expected, where=where, action=action)
        self.failure_class = failure_class  # type: ignore[misc]  # narrower than the class's default


def causes(error: BaseException) -> tuple[BaseException, ...]:
    """List an exception and what it came from, outermost first.

    Also what `raise ... from None` puts out of sight: httpcore raises its errors again so, and
    libraries wrap what happened (datasets turns a full disk into an error of its own).
    """
    found: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in found:
        found.append(seen)
        seen = seen.__cause__ or seen.__context__
    return tuple(found)


def shown(problems: Sequence[Problem], most: int = _MOST_SHOWN) -> tuple[str, ...]:
    """Write problems as lines, and count those beyond what anybody would read."""
    more = len(problems) - most
    lines = tuple(str(problem) for problem in problems[:most])
    return (*lines, f"and {more} more") if more > 0 else lines
