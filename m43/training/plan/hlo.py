"""The compiled step as XLA writes it: which arrays it keeps, and what its products multiply."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from m43.records import Buffer

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
    """

    computation: str
    name: str
    arrays: tuple[ArrayType, ...]
    opcode: str
    operands: tuple[str, ...] = field(repr=False)
    source: str
    is_product: bool


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
    library = opcode == "custom-call" and _LIBRARY_PRODUCT.search(found["rest"]) is not None
    return Instruction(
        computation=computation,
        name=found["name"],
        arrays=tuple(arrays),
        opcode=opcode,
        operands=tuple(re.findall(r"%([\w.\-]+)", found["operands"])),
        source=source[1] if source else "",
        is_product=opcode == "dot" or library,
    )
