"""The loss curve, as an SVG that is the same bytes for the same steps."""

import html
import io
from collections.abc import Sequence

from m43.records import StepMetrics

SMOOTHED_STEPS = 15


def loss_curve_svg(metrics: Sequence[StepMetrics], watermark: str) -> str:
    """Draw the loss of every step and its running mean.

    matplotlib is loaded here and nowhere else, so that verify runs without it.
    """
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    if not metrics:
        raise ValueError("a loss curve needs at least one step")
    settings = {
        # Text stays text: small, searchable, and read aloud; ids are hashed without randomness.
        "svg.fonttype": "none",
        "svg.hashsalt": "m43",
        "font.family": ["sans-serif"],
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    steps = [step.step for step in metrics]
    losses = [step.loss_nats for step in metrics]
    with style.context(["default", settings]):
        figure = Figure(figsize=(7.2, 3.6))
        # Fixed margins: a fitted layout would depend on how this machine measures its fonts.
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.14, top=0.91)
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.plot(steps, losses, color="#9bb8d3", linewidth=0.8, label="each step")
        mean = running_mean(losses, SMOOTHED_STEPS)
        label = f"mean of {SMOOTHED_STEPS} steps"
        axes.plot(steps, mean, color="#1f4e79", linewidth=1.8, label=label)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (nats per supervised token)")
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, linewidth=0.3, color="#cccccc")
        axes.legend(frameon=False)
        if watermark:
            # Plain text in a corner: legible on paper, and not over the curve.
            axes.set_title(watermark, color="#b00020", fontsize=10)
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    return _accessible(buffer.getvalue(), description(metrics, watermark), mpl.__version__)


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


def _accessible(svg: str, text: str, version: str) -> str:
    """Give the picture a title and a description for those who cannot see it."""
    start = svg.index("<svg ")
    end = svg.index(">", start)
    labelled = svg[start:end] + ' role="img" aria-labelledby="loss-title loss-desc">'
    words = (
        '\n <title id="loss-title">Training loss by optimizer step</title>'
        f'\n <desc id="loss-desc">{html.escape(text)}</desc>\n {drawn_by(version)}'
    )
    return svg[:start] + labelled + words + svg[end + 1 :]
