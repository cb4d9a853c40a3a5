"""Every field of every record, changed: what stays possible is listed, and nothing else is."""

import pytest

from tests.lies import fields

# Of the fields that another record or file constrains, at least so many are named when they change.
LEAST_SHARE = 0.95
# Of all fields, so many at most are constrained by nothing.
MOST_FREE = 0.1


@pytest.mark.timeout(1200)
def test_what_verify_cannot_name_is_what_the_list_says() -> None:
    """The list is the table of what an owner could still write; a field more on it is a rule less.

    python -m tests.lies.fields --write makes it again, and prints the shares by record.
    """
    tried = fields.try_all(fields.prepare())
    text = fields.LIST.read_text(encoding="utf-8")
    free = {
        line.split("  ", 1)[1].strip() for line in text.splitlines() if line.startswith("free ")
    }
    named, constrained = fields.named_of_constrained(tried)

    print(*fields.shares(tried), sep="\n")  # noqa: T201 - the shares are what is asked for
    assert named >= LEAST_SHARE * constrained
    assert len(free) <= MOST_FREE * len(tried)
    assert fields.listed(tried) == text


def test_the_share_falls_with_a_rule_that_is_gone() -> None:
    """A value that another file holds as well still counts, though no change of it is named."""
    held, bounded = (fields.Tried(named=(done, 2), doubles=(0, 0)) for done in (2, 1))
    alone, twin = (fields.Tried(named=(0, 2), doubles=(0, pairs)) for pairs in (0, 1))
    tried = {"held": held, "bounded": bounded, "alone": alone, "twin": twin}

    assert fields.named_of_constrained(tried) == (2, 3)
