"""Questions about what words stand for: opposites, inflections, kinds, capitals, legs."""

from __future__ import annotations

from acceptance.data.template import Problem, asked, closed_set

OPPOSITE_PAIRS = (("hot", "cold"), ("big", "small"), ("early", "late"), ("wet", "dry"))
OPPOSITES = {word: other for a, b in OPPOSITE_PAIRS for word, other in ((a, b), (b, a))}

IRREGULAR_PLURALS = {"child": "children", "foot": "feet", "mouse": "mice", "tooth": "teeth"}
NOUNS = (*IRREGULAR_PLURALS, "baby", "box", "city", "dog", "knife", "leaf")

IRREGULAR_PASTS = {"eat": "ate", "go": "went", "see": "saw", "take": "took", "write": "wrote"}
VERBS = (*IRREGULAR_PASTS, "carry", "dance", "jump", "study", "walk")

KINDS = {
    "animal": ("cow", "duck", "horse", "rabbit"),
    "fruit": ("apple", "banana", "grape", "pear"),
    "colour": ("blue", "green", "red", "white"),
    "tool": ("axe", "drill", "hammer", "saw"),
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}

CAPITALS = {
    "Cuba": "Havana",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
    "Peru": "Lima",
    "Poland": "Warsaw",
    "Spain": "Madrid",
}

CONTINENTS = {
    "Africa": ("Chad", "Ghana", "Mali", "Morocco"),
    "Asia": ("China", "India", "Nepal", "Vietnam"),
    "Europe": ("Austria", "France", "Germany", "Sweden"),
}
CONTINENT_OF = {country: name for name, countries in CONTINENTS.items() for country in countries}

LEGS = {
    0: ("salmon", "snake", "worm"),
    2: ("hen", "owl", "parrot"),
    4: ("goat", "lion", "cat"),
    6: ("ant", "bee", "beetle"),
    8: ("scorpion", "spider"),
}
LEGS_OF = {animal: count for count, animals in LEGS.items() for animal in animals}


def opposite_word(*, opening: str, name: str, word: str) -> Problem:
    """A pair is known in both directions."""
    answer = OPPOSITES[word]
    return Problem(
        prompt=asked(opening, name, f"the opposite of {word}"),
        final_answer=answer,
        steps=(
            ("recall", f"'{word}' belongs to the pair {word} and {answer}"),
            ("answer", f"The opposite of '{word}' is '{answer}'"),
        ),
    )


def plural_of(noun: str) -> tuple[str, str]:
    """Return the plural and the rule that gives it."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun], "its plural is irregular and has to be remembered"
    if noun.endswith("x"):
        return noun + "es", "a noun in -x takes -es"
    if noun.endswith("y"):
        return noun[:-1] + "ies", "after a consonant, -y becomes -ies"
    if noun.endswith(("f", "fe")):
        return noun.rstrip("fe") + "ves", "this noun turns -f or -fe into -ves"
    return noun + "s", "a regular noun takes -s"


def plural(*, opening: str, name: str, noun: str) -> Problem:
    """The ending decides, after the irregular nouns."""
    answer, rule = plural_of(noun)
    return Problem(
        prompt=asked(opening, name, f"the plural of {noun}"),
        final_answer=answer,
        steps=(("rule", f"For '{noun}': {rule}"), ("answer", f"One {noun}, two {answer}")),
    )


def past_of(verb: str) -> tuple[str, str]:
    """Return the past tense and the rule that gives it."""
    if verb in IRREGULAR_PASTS:
        return IRREGULAR_PASTS[verb], "its past tense is irregular and has to be remembered"
    if verb.endswith("e"):
        return verb + "d", "a verb in -e takes -d"
    if verb.endswith("y"):
        return verb[:-1] + "ied", "after a consonant, -y becomes -ied"
    return verb + "ed", "a regular verb takes -ed"


def past_tense(*, opening: str, name: str, verb: str) -> Problem:
    """The ending decides, after the irregular verbs."""
    answer, rule = past_of(verb)
    return Problem(
        prompt=asked(opening, name, f"the past tense of {verb}"),
        final_answer=answer,
        steps=(
            ("rule", f"For '{verb}': {rule}"),
            ("answer", f"Today they {verb}, yesterday they {answer}"),
        ),
    )


def kind_of_thing(*, opening: str, name: str, word: str) -> Problem:
    """Four kinds without a word in common; no 'orange'."""
    answer = KIND_OF[word]
    article = "an" if answer == "animal" else "a"
    question = f"whether this is an animal, a fruit, a colour or a tool: {word}"
    return Problem(
        prompt=asked(opening, name, question),
        final_answer=answer,
        steps=(
            ("recall", f"Think of what '{word}' stands for"),
            ("answer", f"'{word}' is {article} {answer}"),
        ),
    )


def capital_city(*, opening: str, name: str, country: str) -> Problem:
    """Capitals that have not moved or been renamed in living memory."""
    answer = CAPITALS[country]
    return Problem(
        prompt=asked(opening, name, f"the capital of {country}"),
        final_answer=answer,
        steps=(
            ("recall", f"The government of {country} sits in {answer}"),
            ("answer", f"The capital of {country} is {answer}"),
        ),
    )


def continent(*, opening: str, name: str, country: str) -> Problem:
    """Only countries that lie on one continent."""
    answer = CONTINENT_OF[country]
    return Problem(
        prompt=asked(opening, name, f"the continent of {country}"),
        final_answer=answer,
        steps=(
            ("recall", f"Think of where {country} lies"),
            ("answer", f"{country} is a country in {answer}"),
        ),
    )


def leg_count(*, opening: str, name: str, animal: str) -> Problem:
    """Insects have six legs, spiders and scorpions eight, birds two."""
    answer = str(LEGS_OF[animal])
    return Problem(
        prompt=asked(opening, name, f"how many legs this animal has: {animal}"),
        final_answer=answer,
        steps=(
            ("recall", f"Think of the legs of the {animal}"),
            ("answer", f"The {animal} has {answer} legs"),
        ),
    )


TEMPLATES = (
    closed_set("opposite_word", "words", {"word": tuple(OPPOSITES)}, opposite_word),
    closed_set("plural", "words", {"noun": NOUNS}, plural),
    closed_set("past_tense", "words", {"verb": VERBS}, past_tense),
    closed_set("kind_of_thing", "words", {"word": tuple(KIND_OF)}, kind_of_thing),
    closed_set("capital_city", "knowledge", {"country": tuple(CAPITALS)}, capital_city),
    closed_set("continent", "knowledge", {"country": tuple(CONTINENT_OF)}, continent),
    closed_set("leg_count", "knowledge", {"animal": tuple(LEGS_OF)}, leg_count),
)
