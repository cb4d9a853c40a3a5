"""A model folder's config.json, read as a `GemmaConfig`, and refused where m43 would differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from m43.core import GemmaConfig
from m43.errors import FailureClass, Problem, ProblemsError
from m43.files import read_whole
from m43.gemma_families import (
    ACTIVATION,
    ARCHITECTURES,
    GemmaFamily,
    has_post_norms,
    has_qk_norm,
)
from m43.text import NotTextError, brief, clipped, read_text
from m43.training.weights.safetensors_file import DTYPES
from m43.typed_json import read_json

LOCAL, GLOBAL = "sliding_attention", "full_attention"
MOST, MOST_LAYERS = 2**31 - 1, 1000
"""Sizes are int32 on the device; a stack of more layers is a damaged file, not a Gemma."""
MOST_WIDE, MOST_HEADS = 2**24, 2**12
"""So that no product of sizes leaves 64 bits, in which compilers count bytes."""
LEAST_NUMBER, MOST_NUMBER = 1e-30, 1e30
"""What float32 holds with room for a product; every number in a Gemma is far inside."""
_MOST_BYTES, _MOST_IDS = 1 << 24, 64
_AS_PUBLISHED = "use a Gemma 1, Gemma 2 or Gemma 3 text model as it was published"


class ModelConfigError(ProblemsError):
    """A config.json that describes something which m43 does not compute."""

    failure_class = FailureClass.MODEL_INVALID


def read_model_config(folder: Path) -> GemmaConfig:
    """Read config.json in the spelling of transformers 4 or 5.

    Every key that changes the arithmetic is read or refused; none is guessed.

    Raises:
        ModelConfigError: with everything that is missing, malformed or not implemented.
    """
    path = folder / "config.json"
    reader = _Keys(path=path, data=_table(path))
    config = _read(reader)
    if config is None or reader.problems:
        raise ModelConfigError(reader.problems)
    return config


def declared_dtype(folder: Path) -> np.dtype:
    """Read in which dtype config.json says that the weights are stored.

    Before the weights are there it is the only source; what reads them looks at the files.

    Raises:
        ModelConfigError: if it names none, or one that m43 does not read.
    """
    path = folder / "config.json"
    data = _table(path)
    # Source: transformers 5.23, PretrainedConfig: `dtype`, before it `torch_dtype`.
    name = data.get("dtype", data.get("torch_dtype"))
    known = {str(dtype): dtype for dtype in DTYPES.values()}
    if not isinstance(name, str) or name not in known:
        reader = _Keys(path=path, data=data)
        reader.refuse("dtype", "nothing" if name is None else brief(name), " or ".join(known))
        raise ModelConfigError(reader.problems)
    return known[name]


def _table(path: Path) -> Mapping[str, object]:
    """Read the file's table.

    Raises: ModelConfigError, when it holds none.
    """
    reader = _Keys(path=path)
    try:
        data = read_json(read_text(read_whole(path, _MOST_BYTES)))
    except NotTextError as error:
        reader.refuse("", str(error), "a readable JSON object", error.action)
        raise ModelConfigError(reader.problems) from error
    except (OSError, ValueError) as error:
        reader.refuse("", f"{type(error).__name__}: {error}", "a readable JSON object")
        raise ModelConfigError(reader.problems) from error
    if not isinstance(data, dict):
        reader.refuse("", type(data).__name__, "a JSON object")
        raise ModelConfigError(reader.problems)
    return data


@dataclass(kw_only=True)
class _Keys:
    """Read typed values of config.json and collect what does not fit.

    After a problem a stand-in of the right type is returned, so that reading goes on.
    """

    path: Path
    data: Mapping[str, object] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, key: str, found: str, expected: str, action: str = _AS_PUBLISHED) -> None:
        self.problems.append(
            Problem(
                found=found,
                expected=expected,
                where=f"{self.path}, {key}" if key else str(self.path),
                action=action,
            )
        )

    def shown(self, key: str) -> str:
        return brief(self.data[key]) if key in self.data else "nothing"

    def integer(self, key: str, least: int, most: int = MOST) -> int:
        value = self.data.get(key)
        if type(value) is not int or not least <= value <= most:
            self.refuse(key, self.shown(key), f"a whole number from {least} to {most}")
            return max(least, 1)
        return value

    def number(self, key: str) -> float:
        return self.positive(key, self.data.get(key), self.shown(key))

    def positive(self, key: str, value: object, shown: str) -> float:
        number = cast("float", value)
        if type(value) not in (int, float) or not LEAST_NUMBER <= number <= MOST_NUMBER:
            self.refuse(key, shown, f"a number above 0, of {LEAST_NUMBER} to {MOST_NUMBER}")
            return 1.0
        return float(cast("float", value))

    def optional_number(self, key: str) -> float | None:
        return None if self.data.get(key) is None else self.number(key)

    def only(self, key: str, allowed: tuple[object, ...], why: str) -> None:
        """Refuse a key that is there with another value; that it is absent is fine."""
        value = self.data.get(key)
        if value is not None and value not in allowed:
            # JSON's null is what its absence means: nothing else was ever asked for.
            words = " or ".join(map(repr, allowed)) or "null or no such key"
            self.refuse(key, brief(value), f"{words}, {why}")

    def ids(self, key: str) -> tuple[int, ...]:
        value = self.data.get(key)
        ids = value if isinstance(value, list) else [value]
        sound = all(type(one) is int and 0 <= one <= MOST for one in ids)
        if not 0 < len(ids) <= _MOST_IDS or not sound:
            self.refuse(key, self.shown(key), f"a token id or a list of {_MOST_IDS} at most")
            return (0,)
        return tuple(ids)


def _read(keys: _Keys) -> GemmaConfig | None:
    family = keys.data.get("model_type")
    if not isinstance(family, str) or family not in ARCHITECTURES:
        keys.refuse("model_type", keys.shown("model_type"), " or ".join(map(repr, ARCHITECTURES)))
        return None
    family = cast("GemmaFamily", family)
    _refuse_what_is_not_implemented(keys, family)
    layers = keys.integer("num_hidden_layers", 1, MOST_LAYERS)
    q_heads = keys.integer("num_attention_heads", 1, MOST_HEADS)
    kv_heads = keys.integer("num_key_value_heads", 1, MOST_HEADS)
    head_dim = keys.integer("head_dim", 2, MOST_HEADS)
    if q_heads % kv_heads:
        keys.refuse("num_key_value_heads", str(kv_heads), f"a divisor of {q_heads} query heads")
    if head_dim % 2:
        keys.refuse("head_dim", str(head_dim), "an even number: rotation works on pairs")
    global_layers = _global_layers(keys, family, layers)
    theta_global, theta_local = _rope_thetas(keys, family)
    first = family == "gemma"
    if family == "gemma2":
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            if key not in keys.data:
                keys.refuse(key, "nothing", "a number above 0, or null for no soft cap")
    vocab_size = keys.integer("vocab_size", 1, MOST_WIDE)
    config = GemmaConfig(
        family=family,
        layers=layers,
        d_model=keys.integer("hidden_size", 1, MOST_WIDE),
        d_ff=keys.integer("intermediate_size", 1, MOST_WIDE),
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=vocab_size,
        norm_eps=keys.number("rms_norm_eps"),
        query_scale=(head_dim if first else keys.number("query_pre_attn_scalar")) ** -0.5,
        rope_theta_global=theta_global,
        rope_theta_local=theta_local,
        sliding_window=None if all(global_layers) else keys.integer("sliding_window", 1),
        global_layers=global_layers,
        attention_softcap=keys.optional_number("attn_logit_softcapping"),
        final_softcap=keys.optional_number("final_logit_softcapping"),
        qk_norm=has_qk_norm(family),
        post_norms=has_post_norms(family),
        max_positions=keys.integer("max_position_embeddings", 1),
        pad_id=keys.integer("pad_token_id", 0),
        bos_id=keys.integer("bos_token_id", 0),
        eos_ids=keys.ids("eos_token_id"),
    )
    for key, ids in (
        ("pad_token_id", (config.pad_id,)),
        ("bos_token_id", (config.bos_id,)),
        ("eos_token_id", config.eos_ids),
    ):
        # Against a stand-in for a malformed size every id would be reported as a problem too.
        if max(ids) >= vocab_size == keys.data.get("vocab_size"):
            keys.refuse(key, keys.shown(key), f"below the vocabulary's size, {vocab_size}")
    return config


def _refuse_what_is_not_implemented(keys: _Keys, family: GemmaFamily) -> None:
    """Refuse keys that would change the arithmetic.

    Source: transformers 5.23, configuration and modeling files of gemma, gemma2 and gemma3.
    """
    architecture = ARCHITECTURES[family]
    keys.only("architectures", ([architecture],), "the decoder with its head")
    keys.only("attention_bias", (False,), "m43 has no biases")
    keys.only("attention_dropout", (0, 0.0), "m43 has no dropout")
    keys.only("tie_word_embeddings", (True,), "m43's head is the embedding")
    keys.only("use_bidirectional_attention", (False,), "m43's attention is causal")
    if not _says_default(keys.data.get("rope_scaling")):
        keys.only("rope_scaling", (), "because m43 does not stretch positions")
    keys.only("quantization_config", (), "because m43 reads plain weights, not quantised ones")
    keys.only("vision_config", (), "because m43 reads text models")
    activations = ("gelu", ACTIVATION) if family == "gemma" else (ACTIVATION,)
    for key in ("hidden_act", "hidden_activation"):
        keys.only(key, activations, "the activation that Gemma was trained with")
    if keys.data.get("hidden_act") is None and keys.data.get("hidden_activation") is None:
        keys.refuse("hidden_activation", "nothing", ACTIVATION)
    if family != "gemma2":
        # transformers reads this key for Gemma 3 and never applies it.
        keys.only("attn_logit_softcapping", (), "because only Gemma 2 caps attention scores")
    if family == "gemma":
        keys.only("final_logit_softcapping", (), "because Gemma 1 has no soft cap")
        keys.only("query_pre_attn_scalar", (keys.data.get("head_dim"),), "Gemma 1 uses head_dim")
        keys.only("sliding_window", (), "because every layer of Gemma 1 is global")


def _says_default(scaling: object) -> bool:
    """Return whether a rope_scaling only says, in either spelling, that nothing is scaled."""
    default = (("rope_type", "default"), ("type", "default"))
    return isinstance(scaling, dict) and all(pair in default for pair in scaling.items())


def _global_layers(keys: _Keys, family: GemmaFamily, layers: int) -> tuple[bool, ...]:
    """Read which layers see everything: layer_types, or before it the pattern's length.

    Source: transformers 5.23, Gemma2Config and Gemma3TextConfig.__post_init__.
    """
    types = keys.data.get("layer_types")
    pattern_keys = ("sliding_window_pattern", "_sliding_window_pattern")
    if types is not None:
        allowed = (GLOBAL,) if family == "gemma" else (LOCAL, GLOBAL)
        if not isinstance(types, list) or any(one not in allowed for one in types):
            keys.refuse("layer_types", brief(types), f"a list of {' or '.join(allowed)}")
        elif len(types) != layers:
            keys.refuse("layer_types", f"{len(types)} entries", f"one per layer, {layers}")
        else:
            found = tuple(one == GLOBAL for one in types)
            _refuse_another_pattern(keys, found, pattern_keys)
            return found
    elif family == "gemma3_text":
        for key in pattern_keys:
            if keys.data.get(key) is not None:
                found = _periodic(layers, keys.integer(key, 1))
                others = tuple(other for other in pattern_keys if other != key)
                _refuse_another_pattern(keys, found, others)
                return found
        keys.refuse("layer_types", "nothing", "layer_types or sliding_window_pattern")
    elif family == "gemma2":
        return tuple(number % 2 == 1 for number in range(layers))
    return (True,) * layers


def _refuse_another_pattern(
    keys: _Keys, layers: tuple[bool, ...], pattern_keys: tuple[str, ...]
) -> None:
    """Refuse a pattern's length beside layer_types that says something else than they do."""
    for key in pattern_keys:
        period = keys.data.get(key)
        if period is None:
            continue
        whole = type(period) is int and period > 0
        if not whole or layers != _periodic(len(layers), cast("int", period)):
            keys.refuse(key, keys.shown(key), "the same as the other spelling, or only one of them")


def _periodic(layers: int, period: int) -> tuple[bool, ...]:
    return tuple((number + 1) % period == 0 for number in range(layers))


def _rope_thetas(keys: _Keys, family: GemmaFamily) -> tuple[float, float]:
    """Read the base of the rotation in global and in local layers.

    Source: transformers 5.23, Gemma3TextConfig.convert_rope_params_to_dict; 4.57, the same file's
    rope_theta and rope_local_base_freq.
    """
    parameters = keys.data.get("rope_parameters")
    if parameters is None:
        base = keys.number("rope_theta")
        return base, keys.number("rope_local_base_freq") if family == "gemma3_text" else base
    problems = len(keys.problems)
    if family == "gemma3_text":
        of_global = _rope_theta(keys, parameters, GLOBAL)
        of_local = _rope_theta(keys, parameters, LOCAL)
    else:
        table = {"rope_parameters": parameters}
        of_global = of_local = _rope_theta(keys, table, "rope_parameters")
    # Exporters write the older keys as well; a base that could not be read compares with nothing.
    if len(keys.problems) == problems:
        keys.only("rope_theta", (of_global,), "as rope_parameters says")
        if family == "gemma3_text":
            keys.only("rope_local_base_freq", (of_local,), "as rope_parameters says")
    return of_global, of_local


def _rope_theta(keys: _Keys, parent: object, key: str) -> float:
    where = key if key == "rope_parameters" else f"rope_parameters.{key}"
    table = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(table, dict):
        keys.refuse(where, brief(table), "a table with rope_theta")
        return 1.0
    for name, value in table.items():
        if name not in ("rope_theta", "rope_type") or (name == "rope_type" and value != "default"):
            keys.refuse(f"{where}.{clipped(name, 80)}", brief(value), "no stretching of positions")
    theta = table.get("rope_theta")
    return keys.positive(f"{where}.rope_theta", theta, brief(theta))
