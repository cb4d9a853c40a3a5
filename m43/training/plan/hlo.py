"""The compiled step as XLA writes it: its arrays, its products, and its collectives."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from m43.records import Buffer, Collectives

# Source: openxla/xla, primitive_util.cc, the names of the types in HLO text.
_BYTES: Mapping[str, int] = {
    "pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2,
    "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8,
}  # fmt: skip
# They name memory that something else holds.
_VIEWS = frozenset(
    {
        "parameter", "bitcast", "get-tuple-element", "tuple", "constant", "while", "conditional",
        "call",
    }
)  # fmt: skip
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(
    r"^\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<result>\(.*?\)|\S+) "
    r"(?P<opcode>[\w\-]+)\((?P<operands>[^)]*)\)(?P<rest>.*)$"
)
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_SOURCE = re.compile(r'op_name="([^"]*)"')
_FUSED = re.compile(r" fusion\(.*?calls=%?([\w.\-]+)")
_CALLED = re.compile(
    r"\b(?:body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
    r"|\bbranch_computations=\{([^}]*)\}"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_COLLECTIVES = frozenset(
    {
        "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute",
        "collective-broadcast", "ragged-all-to-all",
    }
)  # fmt: skip
# Source: openxla/xla, xla/hlo/ir/replica_group.h, the three forms of a list of groups.
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=")
_BY_AXES = re.compile(r"replica_groups=\S*mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_LIBRARY_PRODUCT = re.compile(r'custom_call_target="[^"]*(?:gemm|matmul)[^"]*"')


@dataclass(frozen=True, kw_only=True)
class ArrayType:
    """What an array is."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return math.prod(self.shape) * _BYTES.get(self.dtype, 0)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One line of a computation.

    Attributes:
        arrays: what it gives; several where it gives a tuple.
        source: the JAX operation that it came from; empty where XLA does not say.
        is_product: a matrix product, whether XLA's own or a library's.
        called: the computations that it runs.
        trips: how often a loop runs its body; 0 where only the run itself decides, else 1.
        among: of a collective, how many devices take part.
    """

    computation: str
    name: str
    arrays: tuple[ArrayType, ...]
    opcode: str
    operands: tuple[str, ...] = field(repr=False)
    source: str
    is_product: bool
    called: tuple[str, ...] = ()
    trips: int = 1
    among: int = 1


@dataclass(frozen=True, kw_only=True)
class Module:
    """A compiled module.

    Attributes:
        fused: the computations whose values live in registers, not in memory.
    """

    instructions: tuple[Instruction, ...] = field(repr=False)
    fused: frozenset[str] = field(repr=False)

    def written(self) -> Iterator[tuple[ArrayType, Instruction]]:
        """Yield the arrays that are written to memory, with what writes them."""
        for each in self.instructions:
            if each.computation not in self.fused and each.opcode not in _VIEWS:
                yield from ((array, each) for array in each.arrays)

    def buffers(self) -> tuple[Buffer, ...]:
        """Return the arrays that are written to memory, the largest first, alike ones once.

        Not all of them exist at once: XLA lays one over another where their times allow.
        """
        sizes = {_label(array, each): array.size_bytes for array, each in self.written()}
        ranked = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Buffer(name=name, size_bytes=size) for name, size in ranked)

    def products(self) -> Counter[tuple[str, str]]:
        """Count the matrix products by the dtypes of their two operands."""
        dtypes = {
            (each.computation, each.name): each.arrays[0].dtype
            for each in self.instructions
            if each.arrays
        }
        counts: Counter[tuple[str, str]] = Counter()
        for each in self.instructions:
            if each.is_product:
                left, right = (dtypes[each.computation, name] for name in each.operands[:2])
                counts[left, right] += 1
        return counts

    def collectives(self) -> tuple[Collectives, ...]:
        """Count what devices say to one another, with every loop around it.

        Of a pair of start and done the second is counted, which gives what arrives. The one loop
        whose rounds are not known beforehand is that over the chunks of supervised tokens.
        """
        found: dict[tuple[str, int, bool], list[int]] = {}
        runs = self._runs()
        among_of = {(each.computation, each.name): each.among for each in self.instructions}
        for each in self.instructions:
            kind, here = each.opcode.removesuffix("-done"), each.computation
            begun = each.name if kind == each.opcode else each.operands[0]
            among = among_of.get((here, begun), 1)
            # One device alone has nothing to say.
            if kind not in _COLLECTIVES or among == 1:
                continue
            times, per_chunk = runs.get(here, (1, False))
            size = sum(array.size_bytes for array in each.arrays)
            total = found.setdefault((kind, among, per_chunk), [0, 0])
            total[0] += times
            total[1] += times * size * (among if kind == "reduce-scatter" else 1)
        return tuple(
            Collectives(kind=kind, among=among, count=count, size_bytes=size, per_chunk=per_chunk)
            for (kind, among, per_chunk), (count, size) in sorted(found.items())
        )

    def _runs(self) -> Mapping[str, tuple[int, bool]]:
        """Return how often a step runs each computation, or a chunk does (True)."""
        callers = {
            name: each
            for each in self.instructions
            if not each.opcode.endswith(("-done", "-update"))
            for name in each.called
        }

        def runs(name: str) -> tuple[int, bool]:
            caller = callers.get(name)
            if caller is None:
                return 1, False
            times, per_chunk = runs(caller.computation)
            return (1, True) if caller.trips == 0 else (times * caller.trips, per_chunk)

        return {name: runs(name) for name in callers}


def _label(array: ArrayType, each: Instruction) -> str:
    """Return the label of an array: its type and where in the model it comes from.

    Example:
        f32[128,256000] BLI,OI->BLO/dot_general
    """
    # The end of the path says which operation it is; its beginning is the same for all.
    return f"{array} {'/'.join(each.source.split('/')[-2:]) or each.opcode}"


def read_module(text: str) -> Module:
    """Read the text that `compiled.as_text()` gives.

    Source: openxla/xla, hlo_instruction.cc, HloInstruction::ToString.
    """
    instructions: list[Instruction] = []
    computation = ""
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head is not None:
            computation = head[1]
            continue
        found = _LINE.match(line)
        if found is not None:
            instructions.append(_instruction(computation, found))
    return Module(instructions=tuple(instructions), fused=frozenset(_FUSED.findall(text)))


def _instruction(computation: str, found: re.Match[str]) -> Instruction:
    source, opcode = _SOURCE.search(found["rest"]), found["opcode"]
    arrays = (
        ArrayType(dtype=dtype, shape=tuple(int(size) for size in sizes.split(",") if size))
        for dtype, sizes in _ARRAY.findall(found["result"])
    )
    called = [
        name.strip().lstrip("%")
        for one, several in _CALLED.findall(found["rest"])
        for name in (one or several).split(",")
    ]
    trips = _TRIPS.search(found["rest"])
    library = opcode == "custom-call" and _LIBRARY_PRODUCT.search(found["rest"]) is not None
    return Instruction(
        computation=computation,
        name=found["name"],
        arrays=tuple(arrays),
        opcode=opcode,
        operands=tuple(re.findall(r"%([\w.\-]+)", found["operands"])),
        source=source[1] if source else "",
        is_product=opcode == "dot" or library,
        called=tuple(called),
        trips=int(trips[1]) if trips else int(opcode != "while"),
        among=_among(found["rest"]),
    )


def _among(rest: str) -> int:
    """Return how many devices a collective is among."""
    if (listed := _LISTED.search(rest)) is not None:
        return len(listed[1].split(","))
    if (counted := _COUNTED.search(rest)) is not None:
        return int(counted[2])
    if (by_axes := _BY_AXES.search(rest)) is not None:
        sizes = dict(axis.split("=") for axis in by_axes[1].split(","))
        return math.prod(int(sizes[axis.strip()]) for axis in by_axes[2].split(","))
    return 1
