"""The curves, as SVG that is the same bytes for the same steps."""

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from m43.records import StepMetrics

SMOOTHED_STEPS = 15

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


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Average each value with its neighbours; at the ends with those that there are.

    Example:
        >>> running_mean([1.0, 2.0, 6.0], 3)
        [1.5, 3.0, 4.0]
    """
    half = width // 2
    windows = (values[max(0, index - half) : index + half + 1] for index in range(len(values)))
    return [sum(window) / len(window) for window in windows]


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
