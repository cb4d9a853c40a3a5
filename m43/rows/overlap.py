"""Contamination: evaluation prompts, or their templates, that occur in the training file.

Two prompts are the same text when they differ in nothing but case and white space. They are of
the same template when they are the same text once each of these, in this order, has become a
placeholder:

1. A quoted text, `<text>`: from a quotation mark or backtick that follows no letter or digit to
   the next of its kind that stands before none. So an apostrophe in a word quotes nothing.
2. A number, `<number>`: digits with the points, commas, colons and slashes between them (3.5,
   1,234, 10:25, 1/2), after no letter, with a sign that touches it and nothing before it; or
   cardinals in English words (four, seventy-four, three hundred).
3. A name, `<name>`: words with a capital that are none of `_NO_NAMES`, one after the other. At
   the beginning of a sentence (after . ? ! or a line end) every word has a capital, so there it
   is a name only if it has one inside a sentence of the prompt too, or a possessive 's, or if
   one of `_VERBS`, or "and" with another such word, comes next. In a prompt without any small
   letter a capital says nothing at all.

What no rule sees, such as a small word that was drawn from a list, stays, and then two prompts
that were made alike count as different: the contamination that is found is a lower bound.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from m43.records import FormCount
from m43.rows.answers import FORMS, form_of

_QUOTED = re.compile(
    r"""
    (?<![^\W_])                               # no letter or digit before the first mark
    (?: '(?:[^'\n]|(?<=[^\W_])'(?=[^\W_]))*'  # an apostrophe inside may belong to a word
      | "[^"\n]*"
      | `[^`\n]*`
      | \u2018[^\u2019\n]*\u2019
      | \u201c[^\u201d\n]*\u201d
    )
    (?![^\W_])
    """,
    re.VERBOSE,
)
_CARDINAL = (
    "(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    "|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy"
    "|eighty|ninety|hundred|thousand|million)"
)
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-+\u2212])?(?<![^\W_])[0-9]+(?:[.,:/][0-9]+)*"
    rf"|\b{_CARDINAL}(?:[ -]{_CARDINAL})*\b",
    re.IGNORECASE,
)
# Letters, with the hyphens and apostrophes between them; not the words of a placeholder.
_WORD = re.compile(r"(?<![<\w])[^\W\d_]+(?:['\u2019-][^\W\d_]+)*(?![\w>])")
_POSSESSIVE = re.compile(r"['\u2019]s$")
_NAMES = re.compile(r"<name>(?:\s+<name>)+")
_SENTENCE_END = frozenset(".?!\n")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What people do in questions, in the forms that follow a single name.
_VERBS = _words(
    """
    is was has had does did can will wants wanted knows thinks thought says said asks asked tells
    told gets got gives gave takes took makes made buys bought sells sold pays paid earns earned
    spends spent saves saved shares shared eats ate drinks drank bakes baked needs needed uses
    used works worked reads wrote writes runs ran walks walked drives drove rides rode travels
    traveled travelled leaves left arrives arrived starts started begins began lives lived plays
    played scores scored picks picked plants planted collects collected finds found counts counted
    loses lost wins won throws threw draws drew
    """
)
# Words that begin sentences, or stand in capitals for their weight, and name nobody.
_NO_NAMES = _words(
    """
    a all an and another any anybody anyone as at both but by each either everybody everyone
    everything few for from he her here hers his how i if in it its many more most my neither no
    nobody none nothing of on one our she so some somebody someone something that the their them
    then there these they this those to today tomorrow tonight we what whatever when where whether
    which while who whoever whom whose why with yesterday you your
    """
)


@dataclass(frozen=True, kw_only=True)
class KnownPrompts:
    """The prompts of a file of rows, to look others up among them."""

    texts: frozenset[str]
    templates: frozenset[str]

    @classmethod
    def of(cls, prompts: Iterable[str]) -> "KnownPrompts":
        """Index the text and the template of each prompt."""
        prompts = tuple(prompts)
        return cls(
            texts=frozenset(map(text_of, prompts)), templates=frozenset(map(template_of, prompts))
        )

    def has_text(self, prompt: str) -> bool:
        """Return whether the same prompt is among them, up to case and spacing."""
        return text_of(prompt) in self.texts

    def has_template(self, prompt: str) -> bool:
        """Return whether one of the same template is; the same prompt always is."""
        return self.has_text(prompt) or template_of(prompt) in self.templates


def text_of(prompt: str) -> str:
    """Normalise a prompt: case, spacing and Unicode form make no difference.

    Example:
        >>> text_of("What  is 2+2? ")
        'what is 2+2?'
    """
    return " ".join(unicodedata.normalize("NFC", prompt).casefold().split())


def template_of(prompt: str) -> str:
    """Return what prompts of one kind have in common.

    Example:
        >>> template_of("Tom's train leaves Paris at 10:25. Spell 'rail', Tom.")
        "<name>'s train leaves <name> at <number>. spell <text>, <name>."
    """
    text = _QUOTED.sub("<text>", unicodedata.normalize("NFC", prompt))
    return text_of(_without_names(_NUMBER.sub("<number>", text)))


def _without_names(text: str) -> str:
    words = list(_WORD.finditer(text))
    if not any(letter.islower() for word in words for letter in word[0]):
        return text
    inside = {
        _POSSESSIVE.sub("", word[0])
        for word in words
        if _capital(word[0]) and not _begins_sentence(text, word)
    }
    pieces, end = [], 0
    for word in words:
        name = _POSSESSIVE.sub("", word[0])
        if name in inside or (_capital(name) and _acts(text, word)):
            pieces += [text[end : word.start()], "<name>"]
            end = word.start() + len(name)
    return _NAMES.sub("<name>", "".join(pieces) + text[end:])


def _capital(word: str) -> bool:
    return word[0].isupper() and word.casefold() not in _NO_NAMES


def _begins_sentence(text: str, word: re.Match[str]) -> bool:
    before = text[: word.start()].rstrip(" \t")
    return not before or before[-1] in _SENTENCE_END


def _acts(text: str, word: re.Match[str]) -> bool:
    """Return whether a word that begins a sentence is a name, from what comes after it."""
    following = text[word.end() :].split(maxsplit=2)[:2]
    verb, other = ([*following, "", ""])[:2]
    joined = verb == "and" and other != "" and _capital(other)
    return bool(_POSSESSIVE.search(word[0])) or verb in _VERBS or joined


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A prompt and the answer that a row gives to it."""

    prompt: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How many rows repeat an earlier one, and how many contradict an earlier one."""

    duplicates: int
    contradictions: int


def count_repeats(rows: Iterable[Answered]) -> Repeats:
    """Count rows whose prompt came before, with the same answer or with another.

    Case, spacing and Unicode form make no difference.
    """
    answered: dict[str, set[str]] = {}
    duplicates = contradictions = 0
    for row in rows:
        earlier, answer = answered.setdefault(text_of(row.prompt), set()), text_of(row.answer)
        duplicates += answer in earlier
        contradictions += bool(earlier - {answer})
        earlier.add(answer)
    return Repeats(duplicates=duplicates, contradictions=contradictions)


def count_forms(trained: Sequence[str], asked: Sequence[str]) -> tuple[FormCount, ...]:
    """Count the answers of each form in both files; a form that neither has is left out."""
    of_trained, of_asked = (Counter(map(form_of, answers)) for answers in (trained, asked))
    return tuple(
        FormCount(form=form, training_rows=of_trained[form], evaluation_rows=of_asked[form])
        for form in FORMS
        if of_trained[form] or of_asked[form]
    )
