"""How fast and how large a run was, and what it took of the card, in summary and report."""

from collections.abc import Callable, Iterator
from typing import Literal

from m43.evidence.documents.nodes import Bar, Fields, Node, Span, Table, Text, Words, code
from m43.evidence.run import CardUse, LoadedRun, card_use, looks, performance, time_by_phase
from m43.records import RunDir, VenvRecord
from m43.text import duration_words, size_words

_PLAN, _METRICS, _BOTH = RunDir.plan.name, RunDir.metrics.name, "plan.json, training_metrics.jsonl"
_NO_PLAN = "Not measured: there was no plan to hold the run against (plan.json)."


def performance_section(run: Fields) -> list[Node]:
    """Show speed, MFU, memory and the time by phase; `run` has plan, train and evaluation."""
    if run.record is not None and performance(run.record.plan, run.record.train) is None:
        return [Text(_NO_PLAN)]
    return [*speed(run), *_planned(run), *_times(run)]


def speed(run: Fields) -> list[Node]:
    """Show tokens per second, and what they are of what the device can do."""
    found = run.part("performance", lambda it: performance(it.plan, it.train))
    train = run.record.train if run.record else None
    told = train is None or train.peak_device_bytes or len(train.processes) > 1
    rows = [
        ("padded tokens per second", found("padded_tokens_per_s", ",.0f"), _METRICS),
        ("real tokens per second", found("real_tokens_per_s", ",.0f"), _METRICS),
        ("supervised tokens per second", found("supervised_tokens_per_s", ",.0f"), _METRICS),
        ("model FLOPs of the steps, head included", found("model_flops", ".4g"), _BOTH),
        (
            "MFU: share of the device's peak FLOP/s",
            (found.bar("share_of_peak"), found("share_of_peak", lambda x: f"{100 * x:.1f} %")),
            _BOTH,
        ),
        (
            "step time, its roofline bound, and their ratio",
            (
                found.bar("share_of_roofline"),
                Span(
                    f"{found('steps_s', duration_words)}, {found('roofline_s', duration_words)} "
                    f"({found('share_of_roofline', lambda x: f'{100 * x:.0f} %')})",
                    "number",
                ),
            ),
            _BOTH,
        ),
        ("memory at the peak, planned", found("planned_peak_bytes", size_words), _PLAN),
        (
            "memory at the peak, measured",
            found("measured_peak_bytes", size_words),
            RunDir.train.name if told else RunDir.train_process.name,
        ),
    ]
    return [Table(("what", "value", "file"), rows), Text(_explanation(run, found))]


def _explanation(run: Fields, found: Fields) -> str:
    step, limits = run.part("plan.training.step"), run.part("plan.training.limits")
    ratio = found.of(
        "measured_peak_bytes / planned_peak_bytes",
        lambda it: f"{100 * (it.measured_peak_bytes / it.planned_peak_bytes - 1):+.0f}",
    )
    return (
        "Work is what the loss needs: tokens that are not padding through the layers, supervised "
        f"ones through the head. The peak is {limits('flops_per_s', '.3g')} FLOP/s and "
        f"{limits('bytes_per_s', '.3g')} bytes/s ({limits('source')}). The plan is for the longest "
        f"batch that the profile admits, {step('rows')} x {step('length')} tokens; the measured "
        f"memory differs from it by {ratio} %."
    )


def _planned(run: Fields) -> list[Node]:
    plan = run.part("plan")
    training, step = plan.part("training"), plan.part("training.step")
    model = training.of(
        "model_bytes + adapter_bytes", lambda it: size_words(it.model_bytes + it.adapter_bytes)
    )
    rows = [
        ("arguments", step("arguments_bytes", size_words)),
        ("outputs", step("outputs_bytes", size_words)),
        ("of them aliased (donated arguments)", step("aliased_bytes", size_words)),
        ("temporaries", step("temporaries_bytes", size_words)),
        ("the process beside the arrays", training("process_bytes", size_words)),
        *_compiling(training, step),
        ("free for the run", training("limits.memory_bytes", size_words)),
        ("download", plan("download_bytes", size_words)),
        ("trained model on disk", model),
        *step.rows(
            "flops", lambda it: (f"model FLOPs of a step: {it('part')}", it("flops", ".4g"))
        ),
        ("bytes moved by a step, at least", step("bytes_moved", ".4g")),
    ]
    fetched = plan("config_bytes_moved", ",")
    return [
        Text("Planned before a weight was read (plan.json):"),
        Table(("what", "value"), rows),
        Text(f"For it {fetched} bytes were fetched: config.json alone (plan.json)."),
    ]


def _compiling(training: Fields, step: Fields) -> Iterator[tuple[str, str]]:
    if step.record is not None and not step.record.compiling_bytes:
        # A plan of before the compiler was measured.
        return
    left = step("compiled_bytes", size_words)
    yield "the compiler, in the host's memory", step("compiling_bytes", size_words)
    yield "what it leaves for each length, in the host's memory", left
    yield from training.rows(
        "phases", lambda it: (f"at most, {it('phase')}", it("peak_bytes", size_words))
    )


def _times(run: Fields) -> list[Node]:
    phases = time_by_phase(run.record.train, run.record.evaluation) if run.record else ()
    whole_s = sum(phase.duration_s for phase in phases)
    rows = run.rows(
        "phases",
        lambda it: (
            it("name"),
            it("duration_s", duration_words),
            it("duration_s", lambda seconds: f"{100 * seconds / whole_s:.0f} %"),
        ),
        lambda _: phases,
    )
    files = "download.json, train.json, train.process.json, eval.json, eval.process.json"
    head = ("phase", "time", "share")
    return [Text(f"Where the time went ({files}):"), Table(head, rows)]


def memory(loaded_run: LoadedRun) -> list[Node]:
    """Show what was predicted and what was taken, beside what there was; nothing before them."""
    rows = [*_predicted(loaded_run), *_measured(loaded_run)]
    return [Table(("what", "at the peak", "of what there was", "file"), rows)] if rows else []


Row = tuple[str, str, Words, Words]


def _predicted(loaded_run: LoadedRun) -> Iterator[Row]:
    training = loaded_run.plan.training if loaded_run.plan else None
    if training is None:
        return
    whole = training.limits.memory_bytes
    title = "training, predicted before a weight was read"
    yield title, size_words(training.peak_bytes), _of(training.peak_bytes, whole), _file("plan")
    found = (
        performance(loaded_run.plan, loaded_run.train)
        if loaded_run.plan and loaded_run.train
        else None
    )
    if found:
        off = f"{100 * (found.measured_peak_bytes / training.peak_bytes - 1):+.0f} %"
        files = (_file("plan"), ", ", _file("train.process"))
        yield "measured against predicted", off, "", files


def _measured(loaded_run: LoadedRun) -> Iterator[Row]:
    venv, train = loaded_run.venv, loaded_run.train
    several = train is not None and len(train.processes) > 1
    if train and several:
        size = train.all_peak_bytes
        yield "training, all processes", size_words(size), _of_host(size, venv), _file("train")
    for name, title, process in (
        ("train", "training process, host memory", loaded_run.train_child.process),
        ("eval", "evaluation process, host memory", loaded_run.eval_child.process),
    ):
        # Of several what was watched is their launcher.
        if process and not several:
            size = process.peak_bytes
            yield title, size_words(size), _of_host(size, venv), _file(f"{name}.process")
    if train and train.peak_device_bytes:
        peak = train.peak_device_bytes
        whole = venv.probe.devices[0].memory_bytes if venv and venv.probe.devices else 0
        yield "training, device memory", size_words(peak), _of(peak, whole), _file("train")


def _file(name: str) -> Words:
    return code(f"{name}.json")


def _of_host(size_bytes: int, venv: VenvRecord | None) -> Words:
    return _of(size_bytes, venv.probe.host_memory_bytes if venv else 0)


def _of(part: int, whole: int) -> Words:
    if whole <= 0:
        return "not known"
    share = part / whole
    return (Bar(share), Span(f"{100 * share:.1f} % of {size_words(whole)}", "number"))


_CARD = RunDir.gpu_metrics.name
_CHILDREN: tuple[tuple[str, Literal["train", "eval"]], ...] = (
    ("training", "train"),
    ("evaluation", "eval"),
)
_DEGREES = "\N{DEGREE SIGN}C"


def card(loaded_run: LoadedRun | None) -> list[Node]:
    """Show what each child took of the card, or why that is not told; nothing on a CPU."""
    columns: list[tuple[str, Fields]] = []
    unwatched: list[Node] = []
    for title, child in _CHILDREN:
        use = card_use(loaded_run, child) if loaded_run else None
        if loaded_run is None or (use is not None and use.looks):
            columns.append((title, Fields(use, f"card.{child}")))
        elif use is not None:
            why = "; ".join(use.missed)
            unwatched.append(Text(f"Beside {title} the card is not told: {why} ({_CARD})."))
    if not columns:
        return unwatched
    rows = [
        (what, *(use.of(name, _cell(name, asked, how)) for _, use in columns))
        for what, name, asked, how in _ROWS
    ]
    return [
        Text(f"By the card's own driver, looked at each second ({_CARD}):"),
        Table(("what", *(title for title, _ in columns)), rows),
        Text(
            "At work are the steps, and the decoding. Energy by token is theirs, by real token of "
            "the training and by generated one of the evaluation."
        ),
        *unwatched,
    ]


def card_in_short(loaded_run: LoadedRun | None) -> str:
    """Say in a sentence what the card's driver counted of the training."""
    found = card_use(loaded_run, "train") if loaded_run else None
    if loaded_run is not None and (found is None or not found.looks):
        why = "; ".join(found.missed) if found else "nobody looked"
        return f"What the card did is not told by its driver: {why} ({_CARD})."
    use = Fields(found, "card.train")
    energy, power = (
        use.of(name, _cell(name, asked, how)) for _, name, asked, how in _ROWS if how in _IN_SHORT
    )
    return f"The card in training, by its driver: {energy}; {power} ({_CARD})."


def last_look(loaded_run: LoadedRun, child: Literal["train", "eval"]) -> str:
    """Say how the card was when it was last looked at beside a child; empty where nobody did."""
    seen = looks(loaded_run, child)
    if not seen:
        return ""
    at, last = seen[-1].at, seen[-1].card
    parts = (
        (last.memory_used_bytes, lambda size: f"{size_words(size)} in use"),
        (last.power_mw, lambda power: f"{power / 1000:.0f} W"),
        (last.temperature_c, lambda degrees: f"{degrees} {_DEGREES}"),
        (last.throttle_reasons, lambda reasons: f"held down by {', '.join(reasons)}"),
        (last.not_told.values(), lambda words: f"not told: {', '.join(dict.fromkeys(words))}"),
    )
    told = ", ".join(how(value) for value, how in parts if value)
    return f"The card at the last look, after {duration_words(at.elapsed_s)}: {told} ({_CARD})."


def _cell(name: str, asked: str, how: Callable[[CardUse], str]) -> Callable[[CardUse], str]:
    """Say what is told in a field, else why it is not: the word for what the driver was asked."""

    def words(use: CardUse) -> str:
        if getattr(use, name) is not None:
            return how(use)
        under = f", under {use.under}" if use.under else ""
        return f"not told ({use.not_told.get(asked, 'no look at work')}{under})"

    return words


def _watt_hours(use: CardUse) -> str:
    return f"{(use.energy_j or 0) / 3600:.2f} Wh, by {use.energy_from}"


def _watts(use: CardUse) -> str:
    mean = "" if use.mean_power_w is None else f"{use.mean_power_w:.0f} W at work, "
    limit = f" of at most {use.power_limit_w:.0f} W" if use.power_limit_w else ""
    return f"{mean}{use.peak_power_w:.0f} W at the peak{limit}"


def _others(use: CardUse) -> str:
    held = f", {size_words(use.others_peak_bytes)}" if use.others_peak_bytes is not None else ""
    return f"{use.others} at once{held}" if use.others else "none"


def _held_down(use: CardUse) -> str:
    reasons = (use.throttled_s or {}).items()
    return ", ".join(f"{duration_words(s)} by {why}" for why, s in reasons) or "never"


def _memory(use: CardUse) -> str:
    whole = f" of {size_words(use.memory_total_bytes)}" if use.memory_total_bytes else ""
    return f"{size_words(use.peak_memory_bytes or 0)}{whole}"


def _clock(use: CardUse) -> str:
    return f"{use.mean_sm_clock_mhz:.0f} of {use.sm_clock_max_mhz or 'not told'} MHz"


_IN_SHORT = (_watt_hours, _watts)
# What a row says, the field it is of, and what the driver was asked for that.
_ROWS: tuple[tuple[str, str, str, Callable[[CardUse], str]], ...] = (
    ("card", "name", "name", lambda use: str(use.name)),
    ("chosen as", "chosen_by", "", lambda use: use.chosen_by),
    ("compute mode", "compute_mode", "compute_mode", lambda use: str(use.compute_mode)),
    (
        "looks that were answered",
        "looks",
        "",
        lambda use: f"{use.looks} in {duration_words(use.watched_s)}",
    ),
    ("without an answer", "missed", "", lambda use: "; ".join(use.missed) or "never"),
    ("energy", "energy_j", "power_mw", _watt_hours),
    (
        "energy by token",
        "joules_per_token",
        "power_mw",
        lambda use: f"{use.joules_per_token:.4g} J",
    ),
    ("power", "peak_power_w", "power_mw", _watts),
    (
        "utilisation at work, mean",
        "utilisation_share",
        "utilisation_percent",
        lambda use: f"{100 * (use.utilisation_share or 0):.0f} %",
    ),
    ("SM clock at work, mean", "mean_sm_clock_mhz", "sm_clock_mhz", _clock),
    ("clock held down", "throttled_s", "throttle_reasons", _held_down),
    ("memory at the peak, of everybody", "peak_memory_bytes", "memory_used_bytes", _memory),
    ("other processes on the card", "others", "processes", _others),
    (
        "temperature at the highest",
        "highest_temperature_c",
        "temperature_c",
        lambda use: f"{use.highest_temperature_c} {_DEGREES}",
    ),
    (
        "memory errors that ECC corrected",
        "ecc_corrected",
        "ecc_corrected",
        lambda use: str(use.ecc_corrected),
    ),
    (
        "memory errors that it could not",
        "ecc_uncorrected",
        "ecc_uncorrected",
        lambda use: str(use.ecc_uncorrected),
    ),
)
