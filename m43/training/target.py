"""The target: a card that a plan is made for, whether it is there or not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import FailureClass, Problem, ProblemsError
from m43.plan_record import Limits
from m43.toml_file import read_toml
from m43.typed_json import read_table

FOLDER = Path(__file__).parent / "targets"
_SUFFIX = ".toml"


class TargetError(ProblemsError):
    """A target that nobody has described, or that is described wrongly."""

    failure_class = FailureClass.PROFILE_INVALID


@dataclass(frozen=True, kw_only=True)
class Target:
    """A card in figures.

    Attributes:
        usable_share: of its memory, that a run may fill.
        flops_per_s: of bfloat16 products with float32 sums.
        sustained_share: of those, that a good run reaches.
        target_config: what XLA's compiler asks about it, an xla.GpuTargetConfigProto as text.
    """

    device_kind: str
    memory_bytes: int
    usable_share: float
    flops_per_s: float
    bytes_per_s: float
    sustained_share: float
    source: str
    target_config: str = field(repr=False)

    @property
    def limits(self) -> Limits:
        """What a run can have of it."""
        return Limits(
            device=f"gpu:{self.device_kind}",
            memory_bytes=int(self.memory_bytes * self.usable_share),
            flops_per_s=self.flops_per_s,
            bytes_per_s=self.bytes_per_s,
            sustained_share=self.sustained_share,
            source=self.source,
        )


def known_targets() -> tuple[str, ...]:
    """Name the cards that m43 describes."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}")))


def read_target(name: str) -> Target:
    """Read a card's description: one of m43's by its name or JAX's, or a file by its path.

    Raises:
        TargetError: with everything that is wrong with it.
    """
    by_kind = target_of(name)
    if by_kind is not None:
        return by_kind
    return _read(FOLDER / f"{name}{_SUFFIX}" if name in known_targets() else Path(name), name)


def _read(path: Path, name: str) -> Target:
    data, problems = read_toml(path)
    if problems:
        expected = f"cpu, {', '.join(known_targets())}, or a file like those in {FOLDER}"
        raise TargetError((_problem(problems[0].found, expected, name),))
    target, problems = read_table(Target, data, str(path))
    problems = (*problems, *(_problems(target, str(path)) if target is not None else ()))
    if target is None or problems:
        raise TargetError(problems)
    return target


def target_of(device_kind: str) -> Target | None:
    """Find the description of a card by the name that JAX gives it."""
    found = (_read(FOLDER / f"{name}{_SUFFIX}", name) for name in known_targets())
    return next((target for target in found if target.device_kind == device_kind), None)


def _problems(target: Target, where: str) -> Iterator[Problem]:
    rules = (
        ("memory_bytes", target.memory_bytes, target.memory_bytes > 0, "a number above 0"),
        ("usable_share", target.usable_share, 0 < target.usable_share <= 1, "0 to 1"),
        ("flops_per_s", target.flops_per_s, target.flops_per_s > 0, "a number above 0"),
        ("bytes_per_s", target.bytes_per_s, target.bytes_per_s > 0, "a number above 0"),
        ("sustained_share", target.sustained_share, 0 < target.sustained_share <= 1, "0 to 1"),
    )
    for key, found, kept, expected in rules:
        if not kept:
            yield _problem(repr(found), expected, f"{where}, {key}")


def _problem(found: str, expected: str, where: str) -> Problem:
    return Problem(found=found, expected=expected, where=where, action="correct the target")
