"""The bars of the table, and whether what was measured reaches them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tests.benchmarks.measured import Answers, Depth, Share, Start, Steps


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    Attributes:
        figure: what was measured, in the bar's unit.
        bar: None where the line is told without one.
        basis: the measurements that the figure is made of, in words.
    """

    text: str
    figure: float
    unit: Literal["x", "s", "%", "GiB", "Wh", ""]
    bar: float | None
    direction: Literal["at least", "at most"]
    basis: str

    @property
    def holds(self) -> bool | None:
        """Whether the figure reaches the bar."""
        if self.bar is None:
            return None
        enough = self.figure >= self.bar
        return enough if self.direction == "at least" else self.figure <= self.bar


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """One method's training by everybody, each as often as it was run."""

    m43: tuple[Steps, ...]
    lean_told: tuple[Steps, ...]
    trl_told: tuple[Steps, ...]
    trl_shipped: tuple[Steps, ...]
    tunix: tuple[Steps, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that one run of the benchmarks measured."""

    full: Trainings
    lora: Trainings
    float32_masters: tuple[Steps, ...]
    packed: tuple[Steps, ...]
    full_share: Share
    lora_share: Share
    free: tuple[Answers, ...]
    free_generate: tuple[Answers, ...]
    stops: tuple[Answers, ...]
    stops_generate: tuple[Answers, ...]
    cold: Start
    second: Start
    shallow: Depth
    deep: Depth


def later_s(runs: Sequence[Steps]) -> float:
    """Seconds a step after the first; of every step the fastest run counts.

    Whatever else the machine does at the moment only ever slows a step down.
    """
    fastest = [min(times) for times in zip(*(run.step_s for run in runs), strict=True)]
    return sum(fastest[1:]) / len(fastest[1:])


def whole_s(runs: Sequence[Steps]) -> float:
    """Seconds for all steps, with everything that is compiled for them."""
    return min(run.compile_s + sum(run.step_s) for run in runs)


def peak_bytes(runs: Sequence[Steps]) -> float:
    """The process's memory; repeats differ by what the allocator happened to keep."""
    return median(run.peak_bytes for run in runs)


def tokens_per_s(runs: Sequence[Steps]) -> float:
    """Real tokens a second, the first step left out."""
    steps = len(runs[0].step_s)
    return runs[0].real_tokens / steps / later_s(runs)


def lines(found: Found) -> tuple[Line, ...]:
    """Give the table of the issue, in its order."""
    return (
        *_training_lines(found),
        *_share_lines(found),
        *_decoding_lines(found),
        *_memory_lines(found),
        *_start_lines(found),
    )


def _training_lines(found: Found) -> Iterator[Line]:
    full, lora = found.full, found.lora
    for name, method, bar in (("full, AdamW", full, 3.5), ("LoRA r=16", lora, 3.5)):
        yield _ratio(f"{name}: TRL as shipped / m43", method.trl_shipped, method.m43, bar)
    for name, method in (("full", full), ("LoRA", lora)):
        yield _ratio(f"{name}: TRL, allocator told / m43", method.trl_told, method.m43, 1.8)
    yield _ratio("full: lean PyTorch loop, allocator told / m43", full.lean_told, full.m43, 1.0)
    yield _ratio("LoRA: lean PyTorch loop, allocator told / m43", lora.lean_told, lora.m43, 1.25)
    for name, method in (("full", full), ("LoRA", lora)):
        theirs, ours = whole_s(method.tunix), whole_s(method.m43)
        yield Line(
            text=f"{name}: Tunix / m43, 12 steps, the first included",
            figure=theirs / ours,
            unit="x",
            bar=3.0,
            direction="at least",
            basis=f"{theirs:.1f} s / {ours:.1f} s",
        )
    masters = later_s(found.float32_masters)
    yield Line(
        text="full, float32 masters (production's): seconds per step",
        figure=masters,
        unit="s",
        bar=None,
        direction="at most",
        basis=f"bfloat16 weights take {later_s(full.m43):.2f} s",
    )


def _ratio(text: str, theirs: Sequence[Steps], ours: Sequence[Steps], bar: float) -> Line:
    slow, fast = later_s(theirs), later_s(ours)
    return Line(
        text=text,
        figure=slow / fast,
        unit="x",
        bar=bar,
        direction="at least",
        basis=f"{slow:.2f} s / {fast:.2f} s a step",
    )


def _share_lines(found: Found) -> Iterator[Line]:
    for name, share in (("full", found.full_share), ("LoRA", found.lora_share)):
        yield Line(
            text=f"{name}, 4 x 256: share of the arithmetic limit",
            figure=100 * share.of_limit,
            unit="%",
            bar=70.0,
            direction="at least",
            basis=f"{share.step_flop / 1e9:.0f} GFLOP in {share.step_s:.2f} s, a product alone "
            f"{share.product_flop_per_s / 1e9:.0f} GFLOP/s",
        )


def _decoding_lines(found: Found) -> Iterator[Line]:
    pairs = (
        ("100 prompts, 64 tokens each", found.free_generate, found.free, 1.3),
        ("evaluation rows, tuned model that stops", found.stops_generate, found.stops, 1.6),
    )
    for name, theirs, ours, bar in pairs:
        slow, fast = (min(run.decode_s for run in runs) for runs in (theirs, ours))
        same = sum(one == two for one, two in zip(theirs[0].tokens, ours[0].tokens, strict=True))
        made = tuple(sum(map(len, runs[0].tokens)) for runs in (theirs, ours))
        yield Line(
            text=f"{name}: generate / m43",
            figure=slow / fast,
            unit="x",
            bar=bar,
            direction="at least",
            basis=f"{slow:.1f} s / {fast:.1f} s (compiled in {ours[0].compile_s:.1f} s); {same} of "
            f"{len(ours[0].tokens)} rows token for token; {made[0]} and {made[1]} tokens",
        )
    padded, packed = tokens_per_s(found.float32_masters), tokens_per_s(found.packed)
    yield Line(
        text="real tokens/s, full: packed to 4 x 512 / 4 padded rows",
        figure=packed / padded,
        unit="x",
        bar=1.5,
        direction="at least",
        basis=f"{packed:.0f} / {padded:.0f} tokens/s, float32 masters",
    )


def _memory_lines(found: Found) -> Iterator[Line]:
    for name, method, bar in (("full", found.full, 1.1), ("LoRA", found.lora, 1.0)):
        ours, theirs = peak_bytes(method.m43), peak_bytes(method.lean_told)
        yield Line(
            text=f"{name}: peak memory, m43 / lean loop, allocator told",
            figure=ours / theirs,
            unit="x",
            bar=bar,
            direction="at most",
            basis=f"{ours / 1e9:.2f} / {theirs / 1e9:.2f} GB",
        )


def _start_lines(found: Found) -> Iterator[Line]:
    starts = (
        ("cold start to the first step", found.cold.whole_s, 25.0),
        ("second start, with the compilation cache", found.second.whole_s, 10.0),
    )
    for text, figure, bar in starts:
        yield Line(
            text=text, figure=figure, unit="s", bar=bar, direction="at most",
            basis="import, weights, compilation, until the first step is done",
        )  # fmt: skip
    shallow, deep = found.shallow, found.deep
    yield Line(
        text=f"{shallow.layers} to {deep.layers} layers: time per step",
        figure=deep.step_s / shallow.step_s,
        unit="x",
        bar=2.0,
        direction="at most",
        basis=f"{shallow.step_s:.2f} and {deep.step_s:.2f} s",
    )
    yield Line(
        text=f"{shallow.layers} to {deep.layers} layers: time to compile",
        figure=deep.compile_s / shallow.compile_s,
        unit="x",
        bar=1.1,
        direction="at most",
        basis=f"{shallow.compile_s:.1f} and {deep.compile_s:.1f} s",
    )
