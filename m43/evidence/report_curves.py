"""The curves of the report: loss, learning rate, gradient norm and throughput over the steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

from m43.evidence.hypertext import escaped
from m43.evidence.inline_svg import inline_svg
from m43.evidence.plots import SMOOTHED_STEPS, Line, Picture, draw
from m43.records import StepMetrics

# Half of the page's width each.
_INCHES = (5.0, 2.6)


@dataclass(frozen=True, kw_only=True)
class _Quantity:
    """Something that is drawn over the steps."""

    name: str
    title: str
    unit: str
    of: Callable[[Sequence[StepMetrics]], list[float]]
    smoothed: bool


def tokens_per_s(metrics: Sequence[StepMetrics]) -> list[float]:
    """Give the real tokens per second around each step; not a number where a clock stood still.

    Tokens and seconds are summed apart: losses are fetched in blocks, so a single step's time
    says little, and the mean of rates is not the rate of the whole.
    """
    half = SMOOTHED_STEPS // 2
    windows = (metrics[max(0, place - half) : place + half + 1] for place in range(len(metrics)))
    return [_rate(window) for window in windows]


def _rate(steps: Sequence[StepMetrics]) -> float:
    seconds = sum(step.duration_s for step in steps)
    return sum(step.real_tokens for step in steps) / seconds if seconds > 0 else math.nan


_QUANTITIES = (
    _Quantity(
        name="loss",
        title="Loss of the training",
        unit="nats per supervised token",
        of=lambda steps: [step.loss_nats for step in steps],
        smoothed=True,
    ),
    _Quantity(
        name="rate",
        title="Learning rate",
        unit="learning rate",
        of=lambda steps: [step.learning_rate for step in steps],
        smoothed=False,
    ),
    _Quantity(
        name="norm",
        title="Norm of the gradient, before clipping",
        unit="L2 norm",
        of=lambda steps: [step.gradient_norm for step in steps],
        smoothed=True,
    ),
    _Quantity(
        name="speed",
        title=f"Throughput, over {SMOOTHED_STEPS} steps",
        unit="real tokens per second",
        of=tokens_per_s,
        smoothed=False,
    ),
)


def curves_html(metrics: Sequence[StepMetrics]) -> str:
    """Draw the four curves; nothing without a step."""
    return _drawn(tuple(metrics)) if metrics else ""


@lru_cache(maxsize=2)  # the page is written again after each promise, its curves stay
def _drawn(metrics: tuple[StepMetrics, ...]) -> str:
    return figures_html(pictures(metrics))


def figures_html(drawn: Sequence[Picture]) -> str:
    """Draw pictures, each under its title."""
    figures = "".join(
        f"<figure><figcaption>{escaped(each.title)}</figcaption>"
        f"{inline_svg(draw(each), each.name)}</figure>"
        for each in drawn
    )
    return f'<div class="plots">{figures}</div>'


def pictures(metrics: Sequence[StepMetrics]) -> tuple[Picture, ...]:
    """Say what is drawn of one run."""
    return compared({"each step": metrics})


def compared(runs: Mapping[str, Sequence[StepMetrics]]) -> tuple[Picture, ...]:
    """Say what is drawn of one run, or of two over each other, by their labels."""
    return tuple(_picture(quantity, runs) for quantity in _QUANTITIES)


def _picture(quantity: _Quantity, runs: Mapping[str, Sequence[StepMetrics]]) -> Picture:
    lines = tuple(
        Line(
            label=label,
            steps=tuple(step.step for step in metrics),
            values=tuple(quantity.of(metrics)),
        )
        for label, metrics in runs.items()
    )
    words = " ".join(_words(line, len(lines) > 1) for line in lines)
    return Picture(
        name=f"curve-{quantity.name}",
        title=quantity.title,
        unit=quantity.unit,
        description=f"{quantity.title}, {quantity.unit}. {words}",
        lines=lines,
        smoothed=quantity.smoothed,
        inches=_INCHES,
    )


def _words(line: Line, named: bool) -> str:
    head = f"{line.label}: " if named else ""
    values = [value for value in line.values if math.isfinite(value)]
    if not values:
        return f"{head}{len(line.values)} steps, none with a finite value."
    return (
        f"{head}{len(line.values)} steps, {line.values[0]:.4g} at step {line.steps[0]}, "
        f"{line.values[-1]:.4g} at step {line.steps[-1]}, lowest {min(values):.4g}, "
        f"highest {max(values):.4g}, median {median(values):.4g}."
    )
