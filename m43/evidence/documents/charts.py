"""Charts: the curves of a run as SVG, pure functions of the points, the same bytes everywhere.

A picture is built as an XML tree, which escapes by itself. Its parts have classes and no style: in
a page the page's style sheet colours them, also in the dark; a picture that stands alone brings a
style sheet of its own.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from m43.evidence.run import SMOOTHED_STEPS, running_mean, tokens_per_s
from m43.records import CardReading, CardSample, StepMetrics
from m43.text import visible


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was measured at each step of one run."""

    label: str
    steps: tuple[int, ...] = field(repr=False)
    values: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One or two lines over the steps, and what is said about them to those who cannot see."""

    name: str  # begins its ids, so that no other picture on a page has them
    title: str
    unit: str = ""
    axis: str = "optimizer step"
    description: str = ""
    lines: tuple[Line, ...] = field(default=(), repr=False)
    smoothed: bool = False  # whether a running mean is drawn over the steps
    watermark: str = ""
    size: tuple[int, int] = (400, 220)  # in user units; an image of a page scales


# The plot's margins in user units: for tick labels, the unit above, the axis title below.
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 30, 40
_TICKS = 6  # at most, an axis
# Shown by the file that stands alone; report.css has the same classes.
_STYLE = (
    "text{font:10px sans-serif}.grid{stroke:#ccc;stroke-width:.5}.axis{stroke:#000}"
    "polyline{fill:none;stroke-linejoin:round}.faint{stroke-width:.8}.strong{stroke-width:1.8}"
    ".faint.a{stroke:#9bb8d3}.strong.a{stroke:#1f4e79}.faint.b{stroke:#e0b48a}"
    ".strong.b{stroke:#a04000;stroke-dasharray:5 3}circle.a{fill:#1f4e79}circle.b{fill:#a04000}"
    ".watermark{fill:#b00020}"
)


def draw(picture: Picture, *, alone: bool = False) -> str:
    """Draw a picture, as a part of a page or as a file of its own."""
    width, height = picture.size
    root = ET.Element("svg", {"class": "plot", "viewBox": f"0 0 {width} {height}", "role": "img"})
    root.set("aria-labelledby", f"{picture.name}-title {picture.name}-desc")
    _add(root, "title", picture.title, id=f"{picture.name}-title")
    _add(root, "desc", picture.description, id=f"{picture.name}-desc")
    if alone:
        root.set("xmlns", "http://www.w3.org/2000/svg")
        _add(root, "style", _STYLE)
        _add(root, "rect", width=str(width), height=str(height), fill="#fff")
    _frame(root, picture)
    for index, line in enumerate(picture.lines):
        _line(root, picture, line, "ab"[index])
    _legend(root, picture)
    return ET.tostring(root, encoding="unicode") + ("\n" if alone else "")


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    names = {key.removesuffix("_").replace("_", "-"): value for key, value in attributes.items()}
    child = ET.SubElement(parent, tag, names)
    child.text = visible(text) or None
    return child


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Where values lie: `low` at the place `start`, `high` at the place `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the place of a value in user units."""
        # Divided before it is multiplied: a difference of the largest floats is still one.
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _is_drawn(value: float) -> bool:
    # Beyond this even an axis a little longer than the value has no end.
    return abs(value) < 1e300


def _axes(picture: Picture) -> tuple[_Axis, _Axis]:
    width, height = picture.size
    steps = [step for line in picture.lines for step in line.steps]
    values = [value for line in picture.lines for value in line.values if _is_drawn(value)]
    first, last = min(steps), max(steps)
    top = max(values, default=0.0) or 1.0
    # From zero: a loss that hardly falls must not look as if it fell to nothing.
    bottom = min(0.0, *values) if values else 0.0
    across = _Axis(low=first, high=max(last, first + 1), start=_LEFT, end=width - _RIGHT)
    up = _Axis(low=bottom, high=1.04 * max(top, 0.0) or 1.0, start=height - _BOTTOM, end=_TOP)
    return across, up


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return the round numbers between two values: 1, 2 or 5 times a power of ten apart.

    Example:
        >>> ticks(0, 3.4)
        [0.0, 1.0, 2.0, 3.0]
        >>> ticks(1, 300, whole=True)
        [50.0, 100.0, 150.0, 200.0, 250.0, 300.0]
    """
    # Not log10, whose last bit differs between machines: the text of a float does not.
    exponent = int(f"{(high - low) / _TICKS:e}".partition("e")[2])
    sizes = (float(f"{n}e{exponent + more}") for more in (0, 1) for n in (1, 2, 5))
    apart = next(s for s in sizes if (high - low) / s <= _TICKS and (s >= 1 or not whole))
    return [n * apart for n in range(math.ceil(low / apart), math.floor(high / apart) + 1)]


def _frame(root: ET.Element, picture: Picture) -> None:
    """Draw axes, grid and words; the unit stands above its axis, where it is read upright."""
    across, up = _axes(picture)
    left, right, bottom = f"{across.start:g}", f"{across.end:g}", f"{up.start:g}"
    for value in ticks(up.low, up.high):
        y = up.place(value)
        _add(root, "line", class_="grid", x1=left, x2=right, y1=f"{y:.1f}", y2=f"{y:.1f}")
        text = {"x": f"{_LEFT - 6}", "y": f"{y + 3.5:.1f}", "text_anchor": "end"}
        _add(root, "text", f"{value:,.12g}", **text)
    for value in ticks(across.low, across.high, whole=True):
        x = f"{across.place(value):.1f}"
        _add(root, "line", class_="axis", x1=x, x2=x, y1=bottom, y2=f"{up.start + 4:g}")
        _add(root, "text", f"{value:,.12g}", x=x, y=f"{up.start + 16:g}", text_anchor="middle")
    _add(root, "line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom)
    _add(root, "line", class_="axis", x1=left, x2=left, y1=bottom, y2=f"{_TOP}")
    middle = f"{(across.start + across.end) / 2:g}"
    _add(root, "text", picture.axis, x=middle, y=f"{up.start + 32:g}", text_anchor="middle")
    _add(root, "text", picture.unit, x=left, y="14")
    if picture.watermark:
        # Plain text in a corner: legible on paper, and not over the curve.
        mark = {"class_": "watermark", "x": right, "y": "14", "text_anchor": "end"}
        _add(root, "text", picture.watermark, **mark)


def _line(root: ET.Element, picture: Picture, line: Line, letter: str) -> None:
    """Draw one run; where a value is no number the line is interrupted."""
    # A mean over what is not drawn would lie beyond the axis.
    shown = [value if _is_drawn(value) else math.nan for value in line.values]
    mean = running_mean(shown, SMOOTHED_STEPS) if picture.smoothed else line.values
    kinds = [("faint", line.values)] if picture.smoothed else []
    for kind, values in (*kinds, ("strong", mean)):
        for points in _stretches(picture, line.steps, values):
            if len(points) > 1:
                text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                _add(root, "polyline", class_=f"{kind} {letter}", points=text)
            elif kind == "strong":
                # One point makes no line.
                ((x, y),) = points
                _add(root, "circle", class_=letter, cx=f"{x:.1f}", cy=f"{y:.1f}", r="3")


def _stretches(
    picture: Picture, steps: Sequence[int], values: Sequence[float]
) -> Iterator[list[tuple[float, float]]]:
    across, up = _axes(picture)
    points: list[tuple[float, float]] = []
    for step, value in zip(steps, values, strict=True):
        if _is_drawn(value):
            points.append((across.place(step), up.place(value)))
        elif points:
            yield points
            points = []
    if points:
        yield points


def _legend(root: ET.Element, picture: Picture) -> None:
    """Name the lines where there is more than one, from the right."""
    if len(picture.lines) > 1:
        named = [(f"strong {'ab'[i]}", line.label) for i, line in enumerate(picture.lines)]
    elif picture.smoothed:
        named = [("faint a", "each step"), ("strong a", f"mean of {SMOOTHED_STEPS} steps")]
    else:
        return
    x = picture.size[0] - _RIGHT - sum(34 + 6 * len(label) for _, label in named)
    for kind, label in named:
        _add(root, "polyline", class_=kind, points=f"{x},24 {x + 20},24")
        _add(root, "text", label, x=f"{x + 24}", y="27.5")
        x += 34 + 6 * len(label)


def loss_curve_svg(metrics: Sequence[StepMetrics], watermark: str) -> str:
    """Draw the loss of every step and its running mean, as a file of its own."""
    if not metrics:
        raise ValueError("a loss curve needs at least one step")
    loss = pictures({"each step": metrics})[0]
    words = f"{watermark}. {loss.description}" if watermark else loss.description
    return draw(replace(loss, description=words, watermark=watermark, size=(720, 360)), alone=True)


@dataclass(frozen=True, kw_only=True)
class _Quantity:
    """Something that is drawn over the steps."""

    name: str
    title: str
    unit: str
    of: Callable[[Sequence[StepMetrics]], list[float]]
    smoothed: bool = False


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
    ),
)


def pictures(runs: Mapping[str, Sequence[StepMetrics]]) -> tuple[Picture, ...]:
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


_SENSORS: tuple[tuple[str, str, str, Callable[[CardSample], float | None]], ...] = (
    ("power", "Power of the card", "W", lambda card: card.power_mw and card.power_mw / 1000),
    ("use", "Utilisation of the card", "% of the time", lambda card: card.utilisation_percent),
)
_MOST_POINTS = 600


def card_pictures(readings: Sequence[CardReading]) -> Iterator[Picture]:
    """Say what is drawn of the card while the training ran; nothing of what is not told."""
    for name, title, unit, of in _SENSORS:
        points = [
            (each.elapsed_s, float(value))
            for each in readings
            if each.child == "train" and each.card and (value := of(each.card)) is not None
        ]
        if not points:
            continue
        # A long training has more seconds than a screen has points: each is the mean of some.
        width = math.ceil(len(points) / _MOST_POINTS)
        parts = [points[place : place + width] for place in range(0, len(points), width)]
        values = [value for _, value in points]
        words = (
            f"{title}, {unit}, in {len(points)} looks from {points[0][0]:.0f} to "
            f"{points[-1][0]:.0f} s, lowest {min(values):.4g}, highest {max(values):.4g}, median "
            f"{median(values):.4g}."
        )
        line = Line(
            label="each look",
            steps=tuple(round(part[0][0]) for part in parts),
            values=tuple(sum(value for _, value in part) / len(part) for part in parts),
        )
        yield Picture(
            name=f"curve-{name}",
            title=title,
            unit=unit,
            axis="second of the training process",
            description=words,
            lines=(line,),
        )
