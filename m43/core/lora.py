"""LoRA: which projections of a model get an adapter, and of which size."""

from collections.abc import Mapping
from dataclasses import dataclass

from flax import nnx

from m43.core.gemma import Gemma
from m43.core.linear import Adapter, Projection


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """What adapters there are; the ranges stand in `profile_check`.

    Attributes:
        rank: R, the width of every adapter.
        alpha: the change is scaled by alpha / rank.
        targets: names of projections of a layer, such as query and gate.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return self.alpha / self.rank


def projections(model: Gemma) -> Mapping[str, Projection]:
    """Return the projections of a layer by name; each holds the stack of all layers.

    Example:
        query, key, value, output, gate, up and down in a Gemma.
    """
    parts = (model.layers.attention, model.layers.feed_forward)
    return {
        name: value
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, Projection)
    }


def add_adapters(model: Gemma, settings: LoraSettings, *, seed: int) -> None:
    """Add an adapter to every targeted projection of a model; its outputs stay the same."""
    found = projections(model)
    rngs = nnx.Rngs(params=seed)
    # Sorted, so that neither the order of the targets nor of the model changes an adapter.
    for name in sorted(settings.targets):
        shape = found[name].weight.shape
        found[name].adapter = Adapter(shape, rank=settings.rank, scale=settings.scale, rngs=rngs)
