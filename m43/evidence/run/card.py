"""What a child took of the card: energy, power, clock and memory, from the looks beside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Literal, TypeVar

from m43.evidence.run.loaded_run import LoadedRun
from m43.records import CardReading, CardSample

T = TypeVar("T", int, float)

# Without these the clock is as high as the card was asked to run.
_UNHINDERED = frozenset({"idle", "application clocks", "display clocks", "sync boost"})
_ELSEWHERE = "the driver does not list the child by its number, as in a container"


@dataclass(frozen=True, kw_only=True)
class Look:
    """A reading that was answered, and its answer."""

    at: CardReading
    card: CardSample

    @property
    def at_work(self) -> bool:
        """Whether the child was computing what its tokens are counted in."""
        return _is_at_work(self.at)


@dataclass(frozen=True, kw_only=True)
class CardUse:
    """What the looks beside one child tell; None where the driver does not.

    "At work" are the looks in the phases that count tokens: the steps, and the decoding.

    Attributes:
        looks: that the driver answered, from which all of this is made.
        watched_s: from the first of them to the last.
        missed: where there is none, and why.
        energy_from: what the energy was read from.
        joules_per_token: at work, by real token of the training or generated one.
        throttled_s: by reason, how long the clock was held down.
        others: how many other processes held memory of the card at once.
        not_told: by field of a sample, in NVML's word.
    """

    looks: int
    watched_s: float
    missed: tuple[str, ...]
    chosen_by: str
    under: str
    name: str | None
    uuid: str | None
    driver_version: str | None
    compute_mode: str | None
    energy_j: float | None
    energy_from: Literal["its energy counter", "its power, integrated", ""]
    joules_per_token: float | None
    mean_power_w: float | None  # at work
    peak_power_w: float | None
    power_limit_w: float | None
    utilisation_share: float | None  # at work, the mean
    mean_sm_clock_mhz: float | None  # at work
    sm_clock_max_mhz: int | None
    peak_memory_bytes: int | None  # of all processes
    memory_total_bytes: int | None
    highest_temperature_c: int | None
    throttled_s: Mapping[str, float] | None
    others: int | None
    others_peak_bytes: int | None
    ecc_corrected: int | None  # that came while the child ran
    ecc_uncorrected: int | None
    not_told: Mapping[str, str] = field(repr=False)


def _is_at_work(reading: CardReading) -> bool:
    """Tell whether the child was in a phase that its tokens are counted in."""
    return reading.phase == "train" or reading.phase.startswith("decode")


def looks(loaded_run: LoadedRun, child: Literal["train", "eval"]) -> tuple[Look, ...]:
    """List the looks beside a child that were answered, also those of a card that was lost."""
    readings = (each for each in loaded_run.card if each.child == child)
    return tuple(Look(at=each, card=each.card) for each in readings if each.card is not None)


def card_use(loaded_run: LoadedRun, child: Literal["train", "eval"]) -> CardUse | None:
    """Work out what a child took of the card; None where no card was watched beside it."""
    readings = [each for each in loaded_run.card if each.child == child]
    if not readings:
        return None
    seen = looks(loaded_run, child)
    cards = [look.card for look in seen]
    working = [look.card for look in seen if look.at_work]
    energy_j, energy_from = _energy(seen)
    work_j = work_energy_j(seen)
    tokens = _tokens(loaded_run, child)
    others, others_bytes = _others(seen)
    last = cards[-1] if cards else None
    not_told = _not_told(cards)
    if others is None and "processes" not in not_told:
        not_told["processes"] = _ELSEWHERE
    return CardUse(
        looks=len(seen),
        watched_s=seen[-1].at.elapsed_s - seen[0].at.elapsed_s if seen else 0.0,
        missed=_missed(readings),
        chosen_by=last.chosen_by if last else "",
        under=last.under if last else "",
        name=_first(cards, lambda card: card.name),
        uuid=_first(cards, lambda card: card.uuid),
        driver_version=_first(cards, lambda card: card.driver_version),
        compute_mode=_first(cards, lambda card: card.compute_mode),
        energy_j=energy_j,
        energy_from=energy_from,
        joules_per_token=work_j / tokens if work_j is not None and tokens else None,
        mean_power_w=_over(fmean, working, lambda card: _watts(card.power_mw)),
        peak_power_w=_over(max, cards, lambda card: _watts(card.power_mw)),
        power_limit_w=_over(max, cards, lambda card: _watts(card.power_limit_mw)),
        utilisation_share=_over(fmean, working, lambda card: _share(card.utilisation_percent)),
        mean_sm_clock_mhz=_over(fmean, working, lambda card: card.sm_clock_mhz),
        sm_clock_max_mhz=_over(max, cards, lambda card: card.sm_clock_max_mhz),
        peak_memory_bytes=_over(max, cards, lambda card: card.memory_used_bytes),
        memory_total_bytes=_over(max, cards, lambda card: card.memory_total_bytes),
        highest_temperature_c=_over(max, cards, lambda card: card.temperature_c),
        throttled_s=_throttled_s(seen),
        others=others,
        others_peak_bytes=others_bytes,
        ecc_corrected=_over(_rise, cards, lambda card: card.ecc_corrected),
        ecc_uncorrected=_over(_rise, cards, lambda card: card.ecc_uncorrected),
        not_told=not_told,
    )


def _tokens(loaded_run: LoadedRun, child: str) -> int:
    if child == "train":
        return sum(step.real_tokens for step in loaded_run.metrics)
    return loaded_run.evaluation.generated_tokens if loaded_run.evaluation else 0


def energy_by_power_j(seen: Sequence[Look]) -> float | None:
    """Integrate the power over the looks, by trapezia; None where it is not told."""
    told = [(each.at.elapsed_s, each.card.power_mw) for each in seen]
    powers = [(at, power / 1000) for at, power in told if power is not None]
    if len(powers) < 2:
        return None
    return sum((b - a) * (p + q) / 2 for (a, p), (b, q) in pairwise(powers))


def work_energy_j(seen: Sequence[Look]) -> float | None:
    """Return the energy from the first look at work to the one after the last."""
    marks = [place for place, look in enumerate(seen) if look.at_work]
    # The work ends between two looks.
    return _energy(seen[marks[0] : marks[-1] + 2])[0] if marks else None


def _energy(
    seen: Sequence[Look],
) -> tuple[float | None, Literal["its energy counter", "its power, integrated", ""]]:
    """Return the energy over the looks, and what it was read from."""
    counted = [each.card.energy_mj for each in seen if each.card.energy_mj is not None]
    if len(counted) > 1:
        return (counted[-1] - counted[0]) / 1000, "its energy counter"
    power_j = energy_by_power_j(seen)
    return power_j, "" if power_j is None else "its power, integrated"


def _throttled_s(seen: Sequence[Look]) -> Mapping[str, float] | None:
    """Add up how long each reason held the clock down; a look stands until the next one."""
    if all(each.card.throttle_reasons is None for each in seen):
        return None
    held: Counter[str] = Counter()
    for one, other in pairwise(seen):
        for reason in one.card.throttle_reasons or ():
            if reason not in _UNHINDERED:
                held[reason] += other.at.elapsed_s - one.at.elapsed_s  # type: ignore[assignment]
    return dict(held)


def _others(seen: Sequence[Look]) -> tuple[int | None, int | None]:
    """Count the other processes on the card, and their memory, each at its most.

    None where the child itself is never listed: then no number there can be told from its own.
    """
    listed = [(each.at.pid, each.card.processes) for each in seen if each.card.processes]
    if all(pid not in {one.pid for one in processes} for pid, processes in listed):
        return None, None
    others = [[one for one in processes if one.pid != pid] for pid, processes in listed]
    held = [[one.memory_bytes for one in each if one.memory_bytes is not None] for each in others]
    return max(map(len, others)), max(map(sum, held)) if any(held) else None


def _not_told(cards: Sequence[CardSample]) -> dict[str, str]:
    """Give the word for each field that no look was told."""
    last = cards[-1].not_told if cards else {}
    return {
        name: word
        for name, word in last.items()
        if all(getattr(card, name) is None for card in cards)
    }


def _missed(readings: Sequence[CardReading]) -> tuple[str, ...]:
    """Tell the seconds of which nothing is known: a gap, or a card that answers nothing."""
    words = Counter(word for each in readings for word in _silences(each))
    return tuple(f"{count} times: {word}" if count > 1 else word for word, count in words.items())


def _silences(reading: CardReading) -> Iterator[str]:
    if reading.card is None:
        yield reading.gap
    elif reading.card.name is None and reading.card.memory_used_bytes is None:
        yield reading.card.not_told.get("memory_used_bytes", "not told")


def _first(cards: Sequence[CardSample], of: Callable[[CardSample], str | None]) -> str | None:
    return next((value for card in cards if (value := of(card)) is not None), None)


def _over(
    how: Callable[[Sequence[T]], T],
    cards: Sequence[CardSample],
    of: Callable[[CardSample], T | None],
) -> T | None:
    values = [value for card in cards if (value := of(card)) is not None]
    return how(values) if values else None


def _rise(values: Sequence[int]) -> int:
    return values[-1] - values[0]


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _share(percent: int | None) -> float | None:
    return None if percent is None else percent / 100
