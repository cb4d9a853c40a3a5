"""Train the toy's tokenizer on the bundled rows and write m43/rehearsal/tokenizer.json.

Usage: python -m tools.train_tokenizer

To be run when acceptance/data/train.jsonl changes; the toy's revision changes with it. The
rehearsal only reads the file, so the toy is the same whatever version of tokenizers is installed.
"""

import json
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from m43.rehearsal import TOKENIZER, revision_of, write_toy_gemma

ACCEPTANCE = Path(__file__).parents[1] / "acceptance"
VOCABULARY = 1280
# The first ids of every Gemma. Source: google/gemma-2b, tokenizer.json.
SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
# Gemma writes a space as this sign, so that a token can begin with one.
SPACE = "\u2581"
PRINTABLE_ASCII = [chr(code) for code in range(0x21, 0x7F)]


def main() -> None:
    """Train on the bundled rows, write the file, and tell the toy's new revision."""
    TOKENIZER.write_text(train(bundled_texts()).to_str(pretty=True) + "\n", encoding="utf-8")
    with TemporaryDirectory() as folder:
        write_toy_gemma(Path(folder))
        revision = revision_of(Path(folder))
    sys.stdout.write(
        f"The toy's revision is {revision}. It belongs into REVISION of toy_gemma.py and "
        "into [contract] of acceptance/rehearsal.toml.\n"
    )


def bundled_texts() -> list[str]:
    """Read the bundled rows as the rehearsal's profile renders them."""
    profile = tomllib.loads((ACCEPTANCE / "rehearsal.toml").read_text(encoding="utf-8"))
    lines = (ACCEPTANCE / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return rendered_rows([json.loads(line) for line in lines], profile["template"])


def rendered_rows(rows: list[dict[str, Any]], template: dict[str, str]) -> list[str]:
    """Write the rows as training will see them, so that the template's words become tokens too."""
    return [
        template["prompt"].format(prompt=row["prompt"])
        + template["completion"].format(final_answer=row["final_answer"], steps="")
        for row in rows
    ]


def train(texts: list[str]) -> Tokenizer:
    """Train a BPE with byte fallback and give it the form of Gemma's tokenizer.json."""
    learner = Tokenizer(BPE(unk_token=None))
    learner.normalizer = normalizers.Replace(" ", SPACE)
    # No token crosses a space, a digit, a sign or the end of a line. Gemma's own file has no such
    # step and needs none: a boundary that no merge crosses in training is not crossed afterwards.
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(SPACE, "merged_with_next"),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS) - len(BYTE_TOKENS),
        initial_alphabet=[*PRINTABLE_ASCII, SPACE, "\n"],
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer=trainer)
    return _in_gemma_form(json.loads(learner.to_str())["model"])


def _in_gemma_form(model: dict[str, Any]) -> Tokenizer:
    learned = sorted(model["vocab"], key=model["vocab"].__getitem__)
    names = (*SPECIAL_TOKENS, *BYTE_TOKENS, *learned)
    tokenizer = Tokenizer(
        BPE(
            vocab={name: number for number, name in enumerate(names)},
            merges=[(left, right) for left, right in model["merges"]],
            byte_fallback=True,
            fuse_unk=True,
            unk_token="<unk>",
        )
    )
    # Source: transformers 5.23, models/gemma/tokenization_gemma.py.
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, normalized=False, special=True) for name in SPECIAL_TOKENS]
    )
    return tokenizer


if __name__ == "__main__":
    main()
