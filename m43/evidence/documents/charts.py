"""Charts: the curves of a run as SVG that is the same bytes for the same steps, also inside a page.

A page that allows no inline style (its content security policy says so) and has a dark scheme needs
three things that matplotlib does not write: style as attributes, colours that the page names, and
ids that no other picture on the page has.
"""

import html
import io
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Any

from m43.evidence.documents.html import escaped
from m43.evidence.run.performance import SMOOTHED_STEPS, running_mean, tokens_per_s
from m43.records.run_records import StepMetrics

# The colours of a picture that stands alone; the report gives them others in the dark.
FAINT, STRONG = ("#9bb8d3", "#e0b48a"), ("#1f4e79", "#a04000")
GRID, WARNING = "#cccccc", "#b00020"


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was measured at each step of one run."""

    label: str
    steps: tuple[int, ...] = field(repr=False)
    values: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One or two lines over the steps, and what is said about them to those who cannot see."""

    name: str  # of its ids
    title: str
    unit: str
    description: str
    lines: tuple[Line, ...]
    smoothed: bool  # whether a running mean is drawn over the steps
    watermark: str = ""
    inches: tuple[float, float] = (7.2, 3.6)


def loss_curve_svg(metrics: Sequence[StepMetrics], watermark: str) -> str:
    """Draw the loss of every step and its running mean."""
    if not metrics:
        raise ValueError("a loss curve needs at least one step")
    return draw(
        Picture(
            name="loss",
            title="Training loss by optimizer step",
            unit="loss (nats per supervised token)",
            description=description(metrics, watermark),
            lines=(
                Line(
                    label="each step",
                    steps=tuple(step.step for step in metrics),
                    values=tuple(step.loss_nats for step in metrics),
                ),
            ),
            smoothed=True,
            watermark=watermark,
        )
    )


def draw(picture: Picture) -> str:
    """Draw a picture.

    matplotlib is loaded here and nowhere else, so that verify runs without it.
    """
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {
        # Text stays text: small, searchable, and read aloud; ids are hashed without randomness.
        "svg.fonttype": "none",
        "svg.hashsalt": "m43",
        "font.family": ["sans-serif"],
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    width, height = picture.inches
    with style.context(["default", settings]):
        figure = Figure(figsize=(width, height))
        # Fixed margins: a fitted layout would depend on how this machine measures its fonts.
        figure.subplots_adjust(
            left=0.7 / width, right=1 - 0.14 / width, bottom=0.5 / height, top=1 - 0.32 / height
        )
        FigureCanvasSVG(figure)
        _plot(figure.add_subplot(), picture)
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return _accessible(buffer.getvalue(), picture, mpl.__version__)


def _plot(axes: Any, picture: Picture) -> None:
    """Draw the lines; a second one is dashed, for those who do not see its colour."""
    for index, line in enumerate(picture.lines):
        faint, strong = FAINT[index], STRONG[index]
        dash = "solid" if index == 0 else "dashed"
        # One point makes no line.
        point = "o" if len(line.steps) == 1 else ""
        if not picture.smoothed:
            style = {"color": strong, "linewidth": 1.8, "linestyle": dash, "marker": point}
            axes.plot(line.steps, line.values, label=line.label, **style)
            continue
        single = len(picture.lines) == 1
        axes.plot(
            line.steps,
            line.values,
            color=faint,
            linewidth=0.8,
            label=line.label if single else None,
        )
        mean = running_mean(line.values, SMOOTHED_STEPS)
        label = f"mean of {SMOOTHED_STEPS} steps" if single else line.label
        style = {"color": strong, "linewidth": 1.8, "linestyle": dash, "marker": point}
        axes.plot(line.steps, mean, label=label, **style)
    axes.set_xlabel("optimizer step")
    # Above and not beside the axis: it is read without turning the head, and no tick is so wide
    # that it pushes the words out of the picture.
    axes.set_title(picture.unit, loc="left", fontsize=10)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter("{x:,.12g}")
    axes.grid(visible=True, linewidth=0.3, color=GRID)
    # The place is fixed: the best one is searched for among thousands of points, and may change.
    if len(picture.lines) > 1:
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
        axes.legend(frameon=False, borderpad=0, **above)
    elif picture.smoothed:
        axes.legend(frameon=False, loc="upper right")
    if picture.watermark:
        # Plain text in a corner: legible on paper, and not over the curve.
        axes.set_title(picture.watermark, loc="right", color=WARNING, fontsize=10)


def description(metrics: Sequence[StepMetrics], watermark: str) -> str:
    """Say in words what the curve shows."""
    losses = [step.loss_nats for step in metrics]
    text = (
        f"Training loss over {len(losses)} optimizer steps, in nats per supervised token: "
        f"{losses[0]:.4f} at step {metrics[0].step}, {losses[-1]:.4f} at step {metrics[-1].step}, "
        f"lowest {min(losses):.4f}, highest {max(losses):.4f}."
    )
    return f"{watermark}. {text}" if watermark else text


def drawn_by(version: str) -> str:
    """Give the mark that names the version of matplotlib; another one draws other bytes."""
    return f"<!-- drawn with matplotlib {version} -->"


def _accessible(svg: str, picture: Picture, version: str) -> str:
    """Give the picture a title and a description for those who cannot see it."""
    start = svg.index("<svg ")
    end = svg.index(">", start)
    name = picture.name
    labelled = svg[start:end] + f' role="img" aria-labelledby="{name}-title {name}-desc">'
    words = (
        f'\n <title id="{name}-title">{html.escape(picture.title)}</title>'
        f'\n <desc id="{name}-desc">{html.escape(picture.description)}</desc>\n {drawn_by(version)}'
    )
    return svg[:start] + labelled + words + svg[end + 1 :]


_XLINK = "{http://www.w3.org/1999/xlink}href"

# Colours as the page's style names them.
_COLOURS: Mapping[str, str] = {
    "#000000": "currentColor",
    "#ffffff": "none",
    GRID: "var(--line)",
    WARNING: "var(--bad)",
    FAINT[0]: "var(--faint-a)",
    FAINT[1]: "var(--faint-b)",
    STRONG[0]: "var(--strong-a)",
    STRONG[1]: "var(--strong-b)",
}


def inline_svg(svg: str, name: str) -> str:
    """Rewrite a picture for a page; `name` begins every id in it."""
    root = ET.fromstring(svg)
    used = _references(root)
    for parent in list(root.iter()):
        for child in list(parent):
            if _tag(child) in ("metadata", "style"):
                parent.remove(child)
    for node in root.iter():
        node.tag = _tag(node)
        for key, value in _attributes(node, used, name).items():
            node.set(key, value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", "plot")
    root.set("fill", "currentColor")
    # What matplotlib says in the style element for every node.
    root.set("stroke-linejoin", "round")
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _tag(node: ET.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def _references(root: ET.Element) -> set[str]:
    """Collect the ids that something in the picture points to."""
    used = set((root.get("aria-labelledby") or "").split())
    for node in root.iter():
        for key, value in node.attrib.items():
            if key == _XLINK:
                used.add(value[1:])
            elif value.startswith("url(#"):
                used.add(value[5:-1])
    return used


def _attributes(node: ET.Element, used: set[str], name: str) -> Mapping[str, str]:
    """Take a node's attributes away and give what stands in their place."""
    old = dict(node.attrib)
    node.attrib.clear()
    new: dict[str, str] = {}
    for key, value in old.items():
        if key == "style":
            new |= _style(value)
        elif key == "id":
            # Pictures name title and description after themselves already.
            own = value if value.startswith(name) else f"{name}-{value}"
            new |= {"id": own} if value in used else {}
        elif key == _XLINK:
            new["href"] = f"#{name}-{value[1:]}"
        elif value.startswith("url(#"):
            new[key] = f"url(#{name}-{value[5:-1]})"
        else:
            new[key] = _COLOURS.get(value, value)
    return new


def _style(text: str) -> Mapping[str, str]:
    """Write declarations as attributes."""
    pairs = (part.split(":", 1) for part in text.split(";") if ":" in part)
    found = {key.strip(): value.strip() for key, value in pairs}
    # A shorthand, and so no attribute: "10px 'DejaVu Sans', sans-serif". The family is the page's.
    font = found.pop("font", "")
    if font:
        found["font-size"] = next(word for word in font.split() if word.endswith("px"))
    found.pop("font-family", None)
    return {key: _COLOURS.get(value, value) for key, value in found.items()}


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
