"""The template of a prompt: what is taken out, what stays, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.rows.overlap import KnownPrompts, template_of, text_of


@pytest.mark.parametrize(
    ("prompt", "template"),
    [
        ("What is 15 + 27?", "what is <number> + <number>?"),
        ("What is -5 + 3?", "what is <number> + <number>?"),
        ("Is 5-3 = 2?", "is <number>-<number> = <number>?"),
        ("Round 4,546.5 up.", "round <number> up."),
        ("At 10:25 on 1/2/2026", "at <number> on <number>"),
        ("Solve 9x + 39 = 3 for x2.", "solve <number>x + <number> = <number> for x2."),
        ("It costs $2.15 (40% off).", "it costs $<number> (<number>% off)."),
        ("Write seventy-four in digits.", "write <number> in digits."),
        ("Three hundred and six", "<number> and <number>"),
        ("Someone often tends to phone", "someone often tends to phone"),
        ("Reverse the string: 'reason'", "reverse the string: <text>"),
        ('How often is "the 3 Dogs" said?', "how often is <text> said?"),
        ("Spell `rail` or \u2018road\u2019.", "spell <text> or <text>."),
        ("of the words 'red', 'dog' and 'blue'", "of the words <text>, <text> and <text>"),
        ("Say 'it's me' and don't stop.", "say <text> and don't stop."),
        ("the dogs' bowls and the cats' beds", "the dogs' bowls and the cats' beds"),
        ("Tell Omar which day comes after Sunday.", "tell <name> which day comes after <name>."),
        ("Omar wants to know the plural of foot.", "<name> wants to know the plural of foot."),
        ("He lives in New York City.", "he lives in <name>."),
        ("Tom and Anna share $60.", "<name> and <name> share $<number>."),
        ("Tom's dog barks. I like Tom.", "<name>'s dog barks. i like <name>."),
        ("Carla is a tolk. Is Carla a wug?", "<name> is a tolk. is <name> a wug?"),
        ("Sort these: FTLSY", "sort these: <name>"),
        ("What is it? Who has The one?", "what is it? who has the <number>?"),
        ("Sort them\n Multiply them", "sort them multiply them"),
        ("Add and subtract 5. Stop and", "add and subtract <number>. stop and"),
        ("TELL ANA THE CAPITAL OF PERU.", "tell ana the capital of peru."),
        ("  Finn  wants\tit ", "<name> wants it"),
        ("", ""),
    ],
)
def test_particulars_become_placeholders(prompt: str, template: str) -> None:
    """Numbers, quoted texts and names; everything else stays, in small letters."""
    assert template_of(prompt) == template


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["Ana", "Zo\u00eb", "McGee"]))
def test_numbers_and_names_do_not_matter(one: int, other: int, name: str) -> None:
    """Prompts that differ in nothing else are of one template."""
    prompt = f"{name} has {one:,} apples. How many does {name} have after {other} more?"

    assert template_of(prompt) == template_of(
        "Bob has 3 apples. How many does Bob have after 5 more?"
    )


@given(st.text(max_size=60))
def test_a_template_has_no_digit_of_its_own(prompt: str) -> None:
    """ASCII digits stay only where they are part of a word."""
    template = f" {template_of(prompt)} "

    for place, letter in enumerate(template):
        if letter in "0123456789":
            assert template[place - 1].isalnum() or template[place - 1] == "_"


@given(st.text(max_size=60))
def test_a_template_is_its_own_text(prompt: str) -> None:
    """A template is written as texts are compared, so that it can be looked up."""
    assert text_of(template_of(prompt)) == template_of(prompt)


@given(st.lists(st.text(max_size=20), max_size=4), st.text(max_size=20))
def test_the_same_text_is_of_the_same_template(prompts: list[str], other: str) -> None:
    """Whoever met the prompt has met its template, also where capitals tell names otherwise."""
    known = KnownPrompts.of([*prompts, other])

    assert all(known.has_text(prompt) and known.has_template(prompt) for prompt in prompts)
    assert known.has_text(f"  {other}\n")
    assert known.has_template(f"  {other}\n")


def test_capitals_alone_do_not_hide_a_prompt_that_is_known() -> None:
    """The same question in capitals is the same text, though no names can be told in it."""
    known = KnownPrompts.of(["Tell Ana the capital of Peru."])

    assert known.has_text("TELL ANA THE CAPITAL OF PERU.")
    assert known.has_template("TELL ANA THE CAPITAL OF PERU.")
    assert known.has_template("Tell Ben the capital of Chad.")
    assert not known.has_text("Tell Ben the capital of Chad.")
    assert not known.has_template("Tell Ben the plural of foot.")


def test_no_prompts_know_nothing() -> None:
    """An empty file overlaps with no row."""
    assert not KnownPrompts.of(()).has_template("What is 2 + 2?")
