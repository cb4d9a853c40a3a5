"""What is refused before the first gate, and what is let through."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from m43.harness.plugin import options
from m43.harness.plugin.invocation import (
    Asked,
    concerns_acceptance,
    inside,
    item_problems,
    option_problems,
    refusal,
)

pytest_plugins = ("pytester",)

ROOT = Path("/repository")
GOOD = Asked(
    marker="rehearsal",
    arguments=("acceptance",),
    inifile=ROOT / "pytest.ini",
    rootdir=ROOT,
    folder=ROOT,
)


@pytest.mark.parametrize("marker", ["production", "rehearsal"])
@pytest.mark.parametrize(
    "arguments", [("acceptance",), ("acceptance/test_production.py",), ("/repository/acceptance/",)]
)
def test_the_whole_contract_is_let_through(marker: str, arguments: tuple[str, ...]) -> None:
    """The folder or its one file, under one of the two markers."""
    asked = replace(GOOD, marker=marker, arguments=arguments)
    assert concerns_acceptance(asked, ROOT)
    assert option_problems(asked, ROOT) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"marker": ""}, "no -m"),
        ({"marker": "not production"}, "-m 'not production'"),
        ({"marker": "production or rehearsal"}, "-m 'production or rehearsal'"),
        ({"switches": ("-k",)}, "found -k"),
        ({"switches": ("--deselect",)}, "found --deselect"),
        ({"arguments": ("acceptance/test_production.py::test_a",)}, "node id"),
        ({"arguments": ("acceptance", "tests/unit")}, "found tests/unit"),
        ({"arguments": (".",)}, "found ., expected acceptance alone: pytest acceptance -m rehear"),
        ({"marker": "production", "arguments": ("m43",)}, "alone: pytest acceptance -m production"),
        (
            {"named": False, "arguments": ("tests/unit",)},
            "found no folder, expected acceptance: py",
        ),
        (
            {"named": False, "arguments": ("tests/unit",), "strange_plugins": ("a conftest.py",)},
            "found no folder, expected acceptance: py",
        ),
        ({"folder": Path("/other")}, "found /other/acceptance, expected /repository/acceptance"),
        ({"blocked_plugins": ("html", "timeout")}, "plugin 'html', 'timeout' switched off"),
        (
            {"missing_plugins": ("html", "timeout")},
            "'html', 'timeout', expected it: call the pytest",
        ),
        ({"missing_plugins": ("html",), "autoload": False}, "unset PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
        ({"strange_plugins": ("randomly (pytest_randomly)",)}, "-p no:randomly"),
        ({"optimized": True}, "-O"),
        ({"rewritten": False}, "--assert=plain"),
        ({"inifile": None}, "ini file"),
        ({"inifile": Path("/other/pytest.ini")}, "ini file"),
        ({"rootdir": Path("/other")}, "the root /other"),
        (
            {"rootdir": Path("/other"), "inifile": Path("/other/pytest.ini")},
            "found the m43 of /repository in a run of /other",
        ),
        (
            {"strange_plugins": ("/above/conftest.py",)},
            "found /above/conftest.py, expected no conf",
        ),
    ],
)
def test_whatever_is_less_or_more_is_refused(changes: dict[str, object], told: str) -> None:
    """One reason, that names what was found."""
    (problem,) = option_problems(replace(GOOD, **changes), ROOT)  # type: ignore[arg-type]
    assert told in problem


def test_neither_marker_names_the_two_commands() -> None:
    """A person who forgot it sees what to type."""
    (problem,) = option_problems(replace(GOOD, marker=""), ROOT)
    assert "pytest acceptance -m production" in problem
    assert "pytest acceptance -m rehearsal" in problem


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """One correction suffices."""
    asked = replace(GOOD, switches=("-k", "--lf"), optimized=True)
    assert len(option_problems(asked, ROOT)) == 3
    assert refusal(option_problems(asked, ROOT)).count("\n  - ") == 3


@pytest.mark.parametrize(
    ("marker", "arguments", "concerned"),
    [
        ("", ("tests/unit",), False),
        ("", ("m43",), False),
        ("slow", ("tests",), False),
        ("", ("acceptance",), True),
        ("", (".",), True),
        ("", ("acceptance/test_production.py::test_a",), True),
        ("production", ("tests/unit",), True),
    ],
)
def test_only_calls_about_the_contract_are_looked_at(
    marker: str, arguments: tuple[str, ...], *, concerned: bool
) -> None:
    """Unit tests are nobody's business here."""
    asked = replace(GOOD, marker=marker, arguments=arguments)
    assert concerns_acceptance(asked, ROOT) is concerned


def test_a_call_without_marker_and_folder_is_told_the_two_commands_alone() -> None:
    """What else is missing stands in them."""
    asked = replace(GOOD, marker="", named=False, arguments=("/repository",))
    (problem,) = option_problems(asked, ROOT)
    assert "pytest acceptance -m production" in problem


def test_the_folder_is_known_by_what_it_is(tmp_path: Path) -> None:
    """A link to the checkout, a link to its folder, a way round about."""
    (tmp_path / "checkout" / "acceptance").mkdir(parents=True)
    (tmp_path / "link").symlink_to("checkout")
    (tmp_path / "short").symlink_to("link/acceptance")
    repository = tmp_path / "checkout"
    for spelt in ("link/acceptance", "short", "link/../checkout/./acceptance"):
        assert inside(tmp_path / spelt, repository) == repository / "acceptance"
    assert inside(tmp_path, repository) == tmp_path


def test_a_folder_that_is_mounted_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind mount has no link in its path, and the same inode."""
    mounted = Path("/mounted")
    monkeypatch.setattr(Path, "samefile", lambda self, other: {self, other} == {mounted, ROOT})
    assert inside(mounted / "pytest.ini", ROOT) == ROOT / "pytest.ini"
    assert inside(Path("/elsewhere/pytest.ini"), ROOT) == Path("/elsewhere/pytest.ini")


NAMES = ("test_a", "test_b", "test_c")


@pytest.mark.parametrize(
    ("collected", "marks", "told"),
    [
        (("test_a", "test_b"), (), "test_c 0 times"),
        (("test_a", "test_b", "test_b", "test_c"), (), "test_b 2 times"),
        (("test_b", "test_a", "test_c"), (), "another order"),
        ((*NAMES, "test_d"), (), "found test_d"),
        ((), (), "test_a 0 times"),
        (NAMES, ("flaky",), "the mark 'flaky'"),
        (NAMES, ("skip",), "the mark 'skip'"),
    ],
)
def test_what_was_collected_is_held_against_the_contracts_text(
    collected: Sequence[str], marks: Sequence[str], told: str
) -> None:
    """A promise that is missing, doubled, moved, foreign or marked."""
    assert told in item_problems(collected, NAMES, marks)[0]


def test_the_promises_themselves_are_let_through() -> None:
    """Every promise, once, in order, without marks."""
    assert item_problems(NAMES, NAMES, ()) == ()


@pytest.mark.parametrize(
    ("arguments", "switch"),
    [
        (("-k", "auth"), "-k"),
        (("--deselect", "a::b"), "--deselect"),
        (("--ignore", "acceptance/x"), "--ignore"),
        (("--ignore-glob", "*"), "--ignore-glob"),
        (("--lf",), "--lf"),
        (("--ff",), "--ff"),
        (("--nf",), "--nf"),
        (("--sw",), "--sw"),
        (("-x",), "-x"),
        (("--maxfail=2",), "-x"),
        (("--setup-only",), "--setup-only"),
        (("--pdb",), "--pdb"),
        (("--trace",), "--trace"),
        (("--keep-duplicates",), "--keep-duplicates"),
        (("--runxfail",), "--runxfail"),
        (("--doctest-modules",), "--doctest-modules"),
        (("--session-timeout=5",), "--session-timeout"),
        (("-o", "python_functions=test_auth_*"), "-o"),
        (("--noconftest",), "--noconftest"),
        (("--continue-on-collection-errors",), "--continue-on-collection-errors"),
        (("--pastebin=all",), "--pastebin"),
    ],
)
def test_each_option_is_read_from_pytest_itself(
    pytester: pytest.Pytester, arguments: tuple[str, ...], switch: str
) -> None:
    """The names under which pytest keeps its options are pytest's, not ours."""
    asked = options.read(pytester.parseconfig(*arguments), ROOT)
    assert any(words.startswith(switch) for words in asked.switches)
    assert not asked.passive


@pytest.mark.parametrize(
    ("option", "value", "switch"),
    [("numprocesses", 2, "-n"), ("dist", "load", "--dist"), ("reruns", 1, "--reruns"),
     ("count", 3, "--count"), ("force_flaky", True, "--force-flaky")],
)  # fmt: skip
def test_options_of_plugins_that_may_be_installed_are_read(
    pytester: pytest.Pytester, option: str, value: object, switch: str
) -> None:
    """xdist, rerunfailures, repeat and flaky would run gates side by side, or again."""
    config = pytester.parseconfig()
    setattr(config.option, option, value)
    assert any(words.startswith(switch) for words in options.read(config, ROOT).switches)


@pytest.mark.parametrize(
    "option", ["--collect-only", "--fixtures", "--fixtures-per-test", "--markers", "--setup-plan"]
)
def test_an_option_that_only_looks_is_passive(pytester: pytest.Pytester, option: str) -> None:
    """Looking needs neither marker nor folder."""
    assert options.read(pytester.parseconfig(option), ROOT).passive


def test_a_plain_call_asks_for_nothing_special(pytester: pytest.Pytester) -> None:
    """No option is taken for given because of its default."""
    asked = options.read(pytester.parseconfig("-m", " rehearsal ", "acceptance"), ROOT)
    assert asked.marker == "rehearsal"
    assert asked.arguments == ("acceptance",)
    assert asked.switches == ()
    assert asked.missing_plugins == asked.blocked_plugins == ()
    assert asked.rewritten


def test_a_plugin_that_was_switched_off_is_missed(pytester: pytest.Pytester) -> None:
    """Without it a run would leave no report, or wait for ever."""
    config = pytester.parseconfig("-p", "no:html", "-p", "no:timeout", "-p", "no:junitxml")
    assert options.read(config, ROOT).blocked_plugins == ("html", "timeout", "junitxml")
