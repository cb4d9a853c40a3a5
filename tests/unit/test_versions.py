"""One pair of jax and flax for each Python, the same in pyproject, lock, README, make and CI."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


def asked(texts: list[str], python: str) -> dict[str, list[Requirement]]:
    """Give the requirements that hold for a Python, by name."""
    environment = {"python_version": python, "python_full_version": f"{python}.1"}
    found: dict[str, list[Requirement]] = {}
    for wanted in map(Requirement, texts):
        if wanted.marker is None or wanted.marker.evaluate(environment):
            found.setdefault(wanted.name, []).append(wanted)
    return found


def locked(python: str) -> dict[str, str]:
    """Give the version of each package that the lock installs for a Python."""
    text = (REPOSITORY / "requirements.lock").read_text("utf-8")
    lines = re.findall(r"^[a-z0-9].*?(?= \\$)", text, re.MULTILINE)
    return {
        name: str(wanted.specifier).removeprefix("==")
        for name, [wanted] in asked(lines, python).items()
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_what_training_needs_is_locked_at_the_minor_that_was_tested(python: str) -> None:
    """Each package once, and of each a minor version for the venv gate to compare with."""
    extras, versions = PROJECT["optional-dependencies"], locked(python)
    needed, tested = asked(extras["training"], python), asked(extras["tested"], python)

    assert needed.keys() == tested.keys()
    for name in needed:
        [lower], [minor] = needed[name], tested[name]
        assert [bound.operator for bound in lower.specifier] == [">="], name
        assert re.fullmatch(r"==[0-9]+\.[0-9]+\.\*", str(minor.specifier)), name
        assert versions[name] in lower.specifier, name
        assert versions[name] in minor.specifier, name


@pytest.mark.parametrize("python", PYTHONS)
def test_readme_names_the_pair(python: str) -> None:
    """As the lock has it."""
    versions = locked(python)
    row = f"| {python} | {versions['jax']} | {versions['flax']} |"

    assert row in (REPOSITORY / "README.md").read_text("utf-8")
    assert versions["jaxlib"] == versions["jax"]


@pytest.mark.parametrize("extra", ["cuda12", "cuda13", "dev", "parity"])
def test_what_is_installed_by_name_is_what_was_tested(extra: str) -> None:
    """A card's environment gets the pair of its Python; newer than that is a person's own doing."""
    assert "m43[training,tested]" in PROJECT["optional-dependencies"][extra]


def test_the_same_pythons_are_named_everywhere() -> None:
    """What pip admits, what make matrix runs, and the ends of it in CI."""
    admitted = SpecifierSet(PROJECT["requires-python"])
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    workflow = (REPOSITORY / ".github/workflows/ci.yml").read_text("utf-8")

    assert [it for it in range(30) if f"3.{it}.1" in admitted] == [11, 12, 13, 14]
    assert f"\nPAIRS := {' '.join(PYTHONS)}\n" in makefile
    assert f'python: ["{PYTHONS[0]}", "{PYTHONS[-1]}"]' in workflow
