"""The parts that hold m43 against others: rivals, parity, and its own settings side by side."""

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np

from m43.text import duration_words, size_words
from tests.benchmarks.bars import Line
from tests.benchmarks.measured import Answers, Steps
from tools.card_check import children
from tools.card_check.children import Told
from tools.card_check.report import Keep, Part, PartEnded
from tools.card_check.scale import Libraries, Place, Setting, Tried

# Three times and 1.2 times are what a person would change tools for.
_TRAINING_BAR, _DECODING_BAR = 1.2, 3.0
# TF32 would give some 3e-4, so float32 that is none is told apart. Two sums of bfloat16 products in
# another order differ; a fifth farther from float32 than torch's own would be more than order.
_FLOAT32_BAR, _BFLOAT16_BAR = 3e-5, 1.2
_LOSS_BAR = 0.005
# Attention without its mask moved the toy's first loss by 0.5 %, cuDNN's way of rounding should not
# by a fifth of it: XLA's own fused form moved it by 0.003 %.
_SAME_BAR = 0.001
# Of a child that was not started yet.
_NOTHING = Told(records={}, ended="well", reason="", took_s=0.0)


def rivals(place: Place, limit_s: float, keep: Keep) -> Part:
    """Have m43 and then a lean torch loop and generate do the same work on the same card."""
    began = time.monotonic()

    def part(ours: Told, theirs: Told = _NOTHING) -> Part:
        lines = (*_training_lines(ours, theirs), *_decoding_lines(ours, theirs))
        found = {
            f"{side} {what}": told.get(what, cls)
            for side, told in (("m43", ours), ("torch", theirs))
            for what, cls in (("full", Steps), ("lora", Steps), ("answers", Answers))
        }
        part = _part("rivals", {"m43": ours, "torch": theirs}, lines, found)
        held = theirs.get("libraries", Libraries)
        versions = held.versions.items() if held is not None else ()
        words = (f"the rivals are {', '.join(f'{name} {version}' for name, version in versions)}",)
        return replace(part, words=(*part.words, *words)) if versions else part

    ours = children.run(
        place, "m43_child", "rivals", limit_s=limit_s, so_far=lambda told: keep(_so_far(part(told)))
    )
    theirs = children.run(
        *(place, "torch_child", "rivals"),
        limit_s=limit_s - (time.monotonic() - began),
        home="torch",
        so_far=lambda told: keep(_so_far(part(ours, told))),
    )
    return part(ours, theirs)


def _so_far(part: Part) -> Part:
    return replace(part, ended="under way", reason="")


def _part(
    name: str, told: dict[str, Told], lines: tuple[Line, ...], found: dict[str, object]
) -> Part:
    ended: PartEnded = "done"
    if any(each.ended == "badly" for each in told.values()):
        ended = "failed"
    elif any(each.ended == "cut off" for each in told.values()):
        ended = "cut off"
    reasons = [f"{side}: {each.reason}" for side, each in told.items() if each.reason]
    words = tuple(
        f"{side} took {duration_words(each.took_s)}" for side, each in told.items() if each.took_s
    )
    return Part(
        name=name, ended=ended, reason="; ".join(reasons), lines=lines, words=words, found=found
    )


def _training_lines(ours: Told, theirs: Told) -> Iterator[Line]:
    for name, what in (("full, AdamW", "full"), ("LoRA r=16", "lora")):
        mine, lean = ours.get(what, Steps), theirs.get(what, Steps)
        if mine is None or lean is None:
            continue
        # The median: a compiler that comes back at a later step is not what is compared.
        fast, slow = median(mine.step_s[1:]), median(lean.step_s[1:])
        yield Line(
            text=f"{name}: lean PyTorch loop, compiled / m43", figure=slow / fast, unit="x",
            bar=_TRAINING_BAR, direction="at least",
            basis=f"{slow:.3f} s / {fast:.3f} s a step, no remat, first losses "
            f"{lean.losses_nats[0]:.3f} and {mine.losses_nats[0]:.3f}, compiled in "
            f"{lean.step_s[0]:.0f} and {mine.compile_s:.0f} s",
        )  # fmt: skip


def _decoding_lines(ours: Told, theirs: Told) -> Iterator[Line]:
    mine, other = ours.get("answers", Answers), theirs.get("answers", Answers)
    if mine is None or other is None:
        return
    same = sum(one == two for one, two in zip(mine.tokens, other.tokens, strict=True))
    yield Line(
        text="decoding: generate / m43", figure=other.decode_s / mine.decode_s, unit="x",
        bar=_DECODING_BAR, direction="at least",
        basis=f"{other.decode_s:.2f} s / {mine.decode_s:.2f} s (compiled in "
        f"{mine.compile_s:.0f} s); {len(mine.tokens)} rows x {len(mine.tokens[0])} tokens, {same} "
        "of the rows token for token",
    )  # fmt: skip


def parity(place: Place, limit_s: float, keep: Keep) -> Part:
    """Compare logits with transformers' and the losses of a small model with the CPU's.

    The four children run at once: nothing here is timed.
    """
    began = time.monotonic()
    started = {
        "m43": children.start(place, "m43_child", "logits", shared=True),
        "torch": children.start(place, "torch_child", "logits", home="torch", shared=True),
        "losses": children.start(place, "m43_child", "losses", shared=True),
        "losses on the CPU": children.start(place, "m43_child", "losses", home="cpu"),
    }
    told: dict[str, Told] = dict.fromkeys(started, _NOTHING)
    part = _parity(place, told)
    for name, child in started.items():
        told[name] = child.finish(limit_s - (time.monotonic() - began))
        part = _parity(place, told)
        keep(_so_far(part))
    return part


def _parity(place: Place, told: dict[str, Told]) -> Part:
    lines = (
        *_logits_lines(place, told),
        *_loss_lines(told["losses"], told["losses on the CPU"]),
    )
    found = {name: told[name].get("losses", Steps) for name in ("losses", "losses on the CPU")}
    return _part("parity", told, lines, dict(found))


def _logits_lines(place: Place, told: dict[str, Told]) -> Iterator[Line]:
    """Compare by the length of the difference over the length of the reference."""
    sides = [told[side].records for side in ("m43", "torch")]
    if not all({"float32", "bfloat16"} <= set(records) for records in sides):
        return
    truth = np.load(place.root / "torch-float32.npy")

    def away(name: str) -> float:
        scores = np.load(place.root / f"{name}.npy")
        return float(np.linalg.norm(scores - truth) / np.linalg.norm(truth))

    def same(name: str) -> str:
        chosen = np.load(place.root / f"{name}.npy").argmax(-1) == truth.argmax(-1)
        return f"{chosen.sum()} of {chosen.size} likeliest tokens the same"

    float32, ours, theirs = (
        away(each) for each in ("m43-float32", "m43-bfloat16", "torch-bfloat16")
    )
    yield Line(
        text="logits in float32: relative difference from torch", figure=float32, unit="",
        bar=_FLOAT32_BAR, direction="at most", basis=same("m43-float32"),
    )  # fmt: skip
    yield Line(
        text="logits in bfloat16: distance from float32, m43 / torch", figure=ours / theirs,
        unit="x", bar=_BFLOAT16_BAR, direction="at most",
        basis=f"{ours:.2g} / {theirs:.2g}; {same('m43-bfloat16')}",
    )  # fmt: skip


def _loss_lines(card: Told, cpu: Told) -> Iterator[Line]:
    here, there = card.get("losses", Steps), cpu.get("losses", Steps)
    if here is None or there is None:
        return
    pairs = list(zip(here.losses_nats, there.losses_nats, strict=True))
    yield Line(
        text=f"losses of {len(pairs)} steps: largest relative difference from the CPU's",
        figure=max(abs(one - two) / two for one, two in pairs), unit="", bar=_LOSS_BAR,
        direction="at most", basis=f"last losses {pairs[-1][0]:.4f} and {pairs[-1][1]:.4f}",
    )  # fmt: skip


def settings(place: Place, limit_s: float, keep: Keep) -> Part:
    """Try settings until the time is over."""
    told = children.run(
        *(place, "settings_child"),
        limit_s=limit_s,
        so_far=lambda told: keep(_so_far(_settings(told))),
    )
    return _settings(told)


def _settings(told: Told) -> Part:
    tried = [each for each in (told.get(what, Tried) for what in told.records) if each is not None]
    taken = [each for each in tried if each.step_s]
    lines = (*_peak_lines(taken), *_same_lines(taken))
    part = _part("settings", {"settings": told}, lines, {"tried": tried})
    # It is the last part and has all that is left: what it did not come to is no fault.
    ended: PartEnded = "done" if part.ended == "cut off" and taken else part.ended
    return replace(part, ended=ended, words=(*part.words, *map(_row, tried)))


def _peak_lines(taken: list[Tried]) -> Iterator[Line]:
    for each in taken:
        if each.peak_bytes:
            yield Line(
                text=f"{each.setting}: peak memory, how far from the plan",
                figure=100 * abs(each.peak_bytes / each.planned_bytes - 1), unit="%", bar=10.0,
                direction="at most", basis=f"{size_words(each.peak_bytes)} measured",
            )  # fmt: skip


def _same_lines(taken: list[Tried]) -> Iterator[Line]:
    """Hold the losses together: what is faster because it computes something else is no setting."""
    # Adapters are drawn beside other weights.
    full = [each for each in taken if each.setting.method == "full"]
    for rows in dict.fromkeys(each.setting.rows for each in full):
        losses = [each.loss_nats for each in full if each.setting.rows == rows]
        # The first is production's own way, where any is.
        away = max(abs(loss / losses[0] - 1) for loss in losses)
        yield Line(
            text=f"{rows} rows: largest relative difference of a first loss", figure=away, unit="",
            bar=_SAME_BAR, direction="at most", basis=f"{len(losses)} settings, {losses[0]:.4f}",
        )  # fmt: skip


def _row(tried: Tried) -> str:
    """Say what a setting took, as a line of the table in production.toml's comment."""
    setting: Setting = tried.setting
    if not tried.planned_bytes:
        return f"{setting}: {tried.reason}"
    planned = f"{setting}: {size_words(tried.planned_bytes)} planned"
    if not tried.step_s:
        return f"{planned}, {tried.reason}"
    rate, compiled = setting.rows / tried.step_s, duration_words(tried.compile_s)
    return f"{planned}, {tried.step_s:.3f} s a step, {rate:.1f} rows/s, compiled in {compiled}"
