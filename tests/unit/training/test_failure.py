"""What was raised decides the class of a failure."""

import errno

import pytest

from m43.errors import FailureClass, GateStoppedError, Problem, ProblemsError
from m43.training import child
from m43.training.step_log import NonFiniteLossError


class JaxRuntimeError(RuntimeError):
    """Named like JAX's, because the class is told by its name."""


class SafetensorError(Exception):
    """Named like that of safetensors, which is written in Rust."""


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """Raise an error from a cause and catch it, as a library that wraps would."""
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001
        return caught


GATE = GateStoppedError(FailureClass.DATA_INVALID, found="a", expected="b", where="c", action="d")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GATE, FailureClass.DATA_INVALID),
        (MemoryError(), FailureClass.OUT_OF_HOST_MEMORY),
        (OSError(errno.ENOSPC, "No space left"), FailureClass.DISK_FULL),
        (OSError(errno.EDQUOT, "Quota"), FailureClass.DISK_FULL),
        (OSError(errno.ENOENT, "No such file"), FailureClass.HARNESS_ERROR),
        (JaxRuntimeError("RESOURCE_EXHAUSTED: Out of"), FailureClass.OUT_OF_DEVICE_MEMORY),
        (JaxRuntimeError("INTERNAL: something"), FailureClass.HARNESS_ERROR),
        (RuntimeError("RESOURCE_EXHAUSTED"), FailureClass.HARNESS_ERROR),
        (SafetensorError("I/O error: No space (os error 28)"), FailureClass.DISK_FULL),
        (SafetensorError("header too large"), FailureClass.HARNESS_ERROR),
        (ValueError("a bug"), FailureClass.HARNESS_ERROR),
        (raised(ValueError("wrapped"), MemoryError()), FailureClass.OUT_OF_HOST_MEMORY),
        (raised(ValueError("wrapped"), GATE), FailureClass.DATA_INVALID),
    ],
)
def test_each_error_has_its_class(error: BaseException, expected: FailureClass) -> None:
    """Foreseen errors have a class of their own, everything else is the harness's."""
    assert child.describe(error, 0).failure_class is expected
    assert child.is_foreseen(error) == (expected is not FailureClass.HARNESS_ERROR)


def test_the_step_is_the_last_finished_unless_the_error_knows_better() -> None:
    """A non-finite loss names its own step."""
    spoilt = NonFiniteLossError(step=7, loss_nats=float("nan"), gradient_norm=1.0)

    assert child.describe(ValueError("x"), 5).step == 5
    assert child.describe(spoilt, 6).step == 7
    assert "loss nan" in child.describe(spoilt, 6).problems[0]


def test_every_problem_is_listed_up_to_a_hundred() -> None:
    """A record holds what a person can read, and the number of the rest."""
    problems = [
        Problem(found=str(number), expected="b", where="c", action="d") for number in range(130)
    ]

    record = child.describe(ProblemsError(problems), 0)

    assert len(record.problems) == 101
    assert record.problems[0] == "c: found 0, expected b; d"
    assert record.problems[-1] == "and 30 more"
