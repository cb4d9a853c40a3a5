"""A model folder's config.json, read as a `GemmaConfig`, and refused where m43 would differ."""

from pathlib import Path
from typing import cast

import numpy as np

from m43.core import GemmaConfig
from m43.gemma_families import (
    ACTIVATION,
    ARCHITECTURES,
    MULTIMODAL,
    MULTIMODAL_ARCHITECTURE,
    GemmaFamily,
    has_post_norms,
    has_qk_norm,
    is_multimodal,
    text_part,
)
from m43.text import brief, clipped
from m43.training.weights.config_keys import Keys, ModelConfigError, read_config_table
from m43.training.weights.safetensors_file import DTYPES

LOCAL, GLOBAL = "sliding_attention", "full_attention"
MOST_LAYERS = 1000
"""A stack of more layers is a damaged file, not a Gemma."""
MOST_WIDE, MOST_HEADS = 2**24, 2**12
"""So that no product of sizes leaves 64 bits, in which compilers count bytes."""


def read_model_config(folder: Path) -> GemmaConfig:
    """Read config.json in the spelling of transformers 4 or 5.

    Every key that changes the arithmetic is read or refused; none is guessed. Of a multimodal
    folder the text part is read, which may leave keys to transformers' defaults.

    Raises:
        ModelConfigError: with everything that is missing, malformed or not implemented.
    """
    path = folder / "config.json"
    reader = Keys(path=path, data=read_config_table(path))
    if is_multimodal(reader.data):
        reader = _text_keys(reader)
    config = _read(reader)
    if config is None or reader.problems:
        raise ModelConfigError(reader.problems)
    return config


def describes_more(folder: Path) -> bool:
    """Return whether config.json describes more than a text model: what m43 leaves out.

    Raises:
        ModelConfigError: if it holds no table.
    """
    return is_multimodal(read_config_table(folder / "config.json"))


def declared_dtype(folder: Path) -> np.dtype:
    """Read in which dtype config.json says that the weights are stored.

    Before the weights are there it is the only source; what reads them looks at the files.

    Raises:
        ModelConfigError: if it names none, or one that m43 does not read.
    """
    path = folder / "config.json"
    data = text_part(read_config_table(path))
    # Source: transformers 5.23, PretrainedConfig: `dtype`, before it `torch_dtype`.
    name = data.get("dtype", data.get("torch_dtype"))
    known = {str(dtype): dtype for dtype in DTYPES.values()}
    if not isinstance(name, str) or name not in known:
        reader = Keys(path=path, data=data)
        reader.refuse("dtype", "nothing" if name is None else brief(name), " or ".join(known))
        raise ModelConfigError(reader.problems)
    return known[name]


def _text_keys(keys: Keys) -> Keys:
    """Refuse what a multimodal folder says of all its parts, and return the keys of its text part.

    Source: transformers 5.24, Gemma3Config and Gemma3ForConditionalGeneration.
    """
    keys.only("architectures", ([MULTIMODAL_ARCHITECTURE],), "of which m43 trains the text part")
    keys.only("tie_word_embeddings", (True,), "m43's head is the embedding")
    keys.only("quantization_config", (), "because m43 reads plain weights, not quantised ones")
    text = keys.data.get("text_config")
    if not isinstance(text, dict):
        keys.refuse("text_config", keys.shown("text_config"), "a table: the text model's keys")
        # The rest is asked of transformers' defaults, in which nothing is wrong.
        text = {}
    within = "text_config."
    said = Keys(path=keys.path, data=text, within=within, problems=keys.problems)
    family = "gemma3_text"
    said.only("model_type", (family,), "the only text model of Gemma 3")
    named = ARCHITECTURES[family]
    said.only("architectures", ([named],), "the decoder with its head")
    completed = text_part({**keys.data, "text_config": text})
    return Keys(path=keys.path, data=completed, within=within, problems=keys.problems)


def _read(keys: Keys) -> GemmaConfig | None:
    family = keys.data.get("model_type")
    if not isinstance(family, str) or family not in ARCHITECTURES:
        known = (*ARCHITECTURES, MULTIMODAL)
        keys.refuse("model_type", keys.shown("model_type"), " or ".join(map(repr, known)))
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
        rope_factor=_rope_factor(keys, family),
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


def _refuse_what_is_not_implemented(keys: Keys, family: GemmaFamily) -> None:
    """Refuse keys that would change the arithmetic.

    Source: transformers 5.23, configuration and modeling files of gemma, gemma2 and gemma3.
    """
    architecture = ARCHITECTURES[family]
    keys.only("architectures", ([architecture],), "the decoder with its head")
    keys.only("attention_bias", (False,), "m43 has no biases")
    keys.only("attention_dropout", (0, 0.0), "m43 has no dropout")
    keys.only("tie_word_embeddings", (True,), "m43's head is the embedding")
    keys.only("use_bidirectional_attention", (False,), "m43's attention is causal")
    keys.only("partial_rotary_factor", (1, 1.0), "the whole of every head is rotated")
    scaling = keys.data.get("rope_scaling")
    if not _says_default(scaling) and not (family == "gemma3_text" and _is_linear(scaling)):
        why = "stretches none but Gemma 3's, linearly" if scaling else "does not stretch"
        keys.only("rope_scaling", (), f"because m43 {why} positions")
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


def _is_linear(scaling: object) -> bool:
    """Return whether a scaling divides positions by a factor, and says nothing else.

    The older "type" alone does not do it: transformers 5 then scales nothing.
    """
    known = ("rope_type", "type", "factor")
    return (
        isinstance(scaling, dict)
        and scaling.get("rope_type") == scaling.get("type", "linear") == "linear"
        and all(key in known for key in scaling)
    )


def _says_default(scaling: object) -> bool:
    """Return whether a rope_scaling only says, in either spelling, that nothing is scaled."""
    default = (("rope_type", "default"), ("type", "default"))
    return isinstance(scaling, dict) and all(pair in default for pair in scaling.items())


def _global_layers(keys: Keys, family: GemmaFamily, layers: int) -> tuple[bool, ...]:
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
    keys: Keys, layers: tuple[bool, ...], pattern_keys: tuple[str, ...]
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


def _rope_thetas(keys: Keys, family: GemmaFamily) -> tuple[float, float]:
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


def _rope_theta(keys: Keys, parent: object, key: str) -> float:
    """Read a base; of Gemma 3's global layers alone the table may hold a factor as well."""
    where = key if key == "rope_parameters" else f"rope_parameters.{key}"
    table = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(table, dict):
        keys.refuse(where, brief(table), "a table with rope_theta")
        return 1.0
    scaling = {name: value for name, value in table.items() if name != "rope_theta"}
    stretched = key == GLOBAL and _is_linear(scaling)
    for name, value in table.items():
        usual = name == "rope_theta" or (name == "rope_type" and value == "default")
        if not usual and not (stretched and name in ("rope_type", "factor")):
            keys.refuse(f"{where}.{clipped(name, 80)}", brief(value), "no stretching of positions")
    theta = table.get("rope_theta")
    return keys.positive(f"{where}.rope_theta", theta, brief(theta))


def _rope_factor(keys: Keys, family: GemmaFamily) -> float:
    """Read by what global layers divide positions; 1 where nothing stretches them.

    Source: transformers 5.24, Gemma3TextConfig.convert_rope_params_to_dict, which puts rope_scaling
    into the rotation of the global layers, and _compute_linear_scaling_rope_parameters.
    """
    if family != "gemma3_text":
        return 1.0
    parameters, scaling = keys.data.get("rope_parameters"), keys.data.get("rope_scaling")
    of_global = parameters.get(GLOBAL) if isinstance(parameters, dict) else None
    problems = len(keys.problems)
    factors = [
        keys.positive(f"{where}.factor", table.get("factor"), brief(table.get("factor")))
        if table.get("rope_type") == "linear"
        else 1.0
        for where, table in ((f"rope_parameters.{GLOBAL}", of_global), ("rope_scaling", scaling))
        if isinstance(table, dict) and table
    ]
    if len(set(factors)) > 1 and len(keys.problems) == problems:
        keys.refuse("rope_scaling", brief(scaling), "the same as rope_parameters says")
    return factors[0] if factors else 1.0
