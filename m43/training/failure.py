"""The failure of a child: which of the named ways it is, told from what was raised."""

import errno
from collections.abc import Iterator

from m43.errors import FailureClass, M43Error
from m43.records import ChildError

# Thousands of bad rows make a record that nobody reads.
_MOST_PROBLEMS = 100
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def describe(error: BaseException, step: int) -> ChildError:
    """Name the failure and list its problems; what is not foreseen is a harness error.

    Args:
        error: what ended the work.
        step: the last optimizer step (or row) that was finished; an error that knows its own
            step overrules it.
    """
    cause = next((part for part in _chain(error) if _named(part)), error)
    return ChildError(
        failure_class=_named(cause) or FailureClass.HARNESS_ERROR,
        problems=_problems(cause),
        step=getattr(cause, "step", step),
    )


def is_foreseen(error: BaseException) -> bool:
    """Tell whether a failure has a name of its own."""
    return any(_named(part) for part in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    # Libraries wrap what happened: datasets turns a full disk into a generation error.
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _named(error: BaseException) -> FailureClass | None:
    if isinstance(error, M43Error):
        return error.failure_class
    if isinstance(error, MemoryError):
        return FailureClass.OUT_OF_HOST_MEMORY
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return FailureClass.DISK_FULL
    # By name, because this must work where JAX and safetensors cannot be imported.
    kind, text = type(error).__name__, str(error)
    if kind in ("JaxRuntimeError", "XlaRuntimeError") and "RESOURCE_EXHAUSTED" in text:
        return FailureClass.OUT_OF_DEVICE_MEMORY
    if kind == "SafetensorError" and f"os error {errno.ENOSPC}" in text:
        return FailureClass.DISK_FULL
    return None


def _problems(error: BaseException) -> tuple[str, ...]:
    if not isinstance(error, M43Error):
        return (f"{type(error).__name__}: {error}",)
    texts = [str(problem) for problem in error.problems]
    more = len(texts) - _MOST_PROBLEMS
    return (*texts[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else []))
