"""Questions about letters: which, how many, in which order, of which sort."""

from __future__ import annotations

from acceptance.data.template import Problem, asked, closed_set, open_set, several

# Every word starts with another letter.
INITIALLED_WORDS = (
    *("sun", "ice", "moon", "frog", "bread", "cloud"),
    *("tiger", "piano", "garden", "window", "umbrella", "hospital"),
)
# Three words of each length from three to six.
MEASURED_WORDS = (
    *("sky", "tea", "map", "road", "lake", "bird"),
    *("music", "paper", "chair", "winter", "bridge", "market"),
)
# Without "y", which can be either.
LETTERS = "abcdefghijklmnopqrstuvwxz"
VOWELS = "aeiou"
REVERSED_WORDS = (
    *("anchor", "basket", "candle", "dinner", "engine", "forest", "guitar", "harbour"),
    *("insect", "jacket", "kettle", "ladder", "napkin", "office", "pencil", "quartz"),
    *("rocket", "saddle", "tunnel", "unicorn", "velvet", "walnut", "yoghurt", "zipper"),
)
TALLIED_WORDS = (
    *("banana", "committee", "assessment", "bookkeeper", "mississippi", "parallel"),
    *("successful", "possession", "engineering", "independence", "letterpress", "nevertheless"),
)
CONSONANTS = "BCDFGHJKLMNPQRSTVWXZ"
REVERSE_WORDINGS = (
    "Spell '{word}' backwards.",
    "Write the word '{word}' from its last letter to its first.",
)


def first_letter(*, opening: str, name: str, word: str) -> Problem:
    """The letter at the front."""
    answer = word[0]
    return Problem(
        prompt=asked(opening, name, f"the first letter of {word}"),
        final_answer=answer,
        steps=(("spell", "-".join(word)), ("answer", f"The first letter is '{answer}'")),
    )


def letter_count(*, opening: str, name: str, word: str) -> Problem:
    """All letters, repeated ones as often as they occur."""
    answer = str(len(word))
    numbered = ", ".join(f"{k} {letter}" for k, letter in enumerate(word, start=1))
    return Problem(
        prompt=asked(opening, name, f"how many letters this word has: {word}"),
        final_answer=answer,
        steps=(("count", numbered), ("answer", f"'{word}' has {answer} letters")),
    )


def vowel_or_consonant(*, opening: str, name: str, letter: str) -> Problem:
    """Five letters are vowels."""
    answer = "vowel" if letter in VOWELS else "consonant"
    question = f"whether this letter is a vowel or a consonant: {letter}"
    return Problem(
        prompt=asked(opening, name, question),
        final_answer=answer,
        steps=(
            ("recall", f"The vowels are {', '.join(VOWELS)}"),
            ("answer", f"'{letter}' is a {answer}"),
        ),
    )


def backwards(*, word: str, wording: int) -> Problem:
    """Last letter first."""
    answer = word[::-1]
    return Problem(
        prompt=REVERSE_WORDINGS[wording].format(word=word),
        final_answer=answer,
        steps=(
            ("spell", "-".join(word)),
            ("reverse", "-".join(answer)),
            ("answer", answer),
        ),
    )


def letter_order(*, letters: list[str]) -> Problem:
    """Pick the earliest letter that is left, until none is left."""
    answer = "".join(sorted(letters))
    return Problem(
        prompt=f"Put the letters {''.join(letters)} into alphabetical order.",
        final_answer=answer,
        steps=(
            ("setup", "Take the earliest letter in the alphabet each time"),
            ("order", ", ".join(answer)),
            ("answer", answer),
        ),
    )


def letter_tally(*, word: str, letter: str) -> Problem:
    """Walk through the word and note where the letter stands; nowhere is an answer, too."""
    places = [k for k, other in enumerate(word, start=1) if other == letter]
    found = ", ".join(str(k) for k in places) or "none"
    return Problem(
        prompt=f"Count the letter '{letter}' in the word '{word}'. How many are there?",
        final_answer=str(len(places)),
        steps=(
            ("spell", "-".join(word)),
            ("count", f"Places where '{letter}' stands: {found}"),
            ("answer", f"That makes {len(places)}"),
        ),
    )


TEMPLATES = (
    closed_set("first_letter", "spelling", {"word": INITIALLED_WORDS}, first_letter),
    closed_set("letter_count", "spelling", {"word": MEASURED_WORDS}, letter_count),
    closed_set(
        # The vowels three times: one letter in five would otherwise be one, and always answering
        # "consonant" would then be right four times in five.
        name="vowel_or_consonant",
        category="spelling",
        choices={"letter": LETTERS + VOWELS * 2},
        write=vowel_or_consonant,
    ),
    open_set(
        name="backwards",
        category="spelling",
        choices={"word": REVERSED_WORDS, "wording": range(len(REVERSE_WORDINGS))},
        write=backwards,
    ),
    open_set("letter_order", "spelling", {"letters": several(CONSONANTS, 5)}, letter_order),
    open_set(
        name="letter_tally",
        category="spelling",
        choices={"word": TALLIED_WORDS, "letter": "eionsprt"},
        write=letter_tally,
    ),
)
