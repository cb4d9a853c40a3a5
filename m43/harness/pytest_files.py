"""The files of pytest: what m43 needs in the conftest.py and the pytest.ini of a tree.

In a checkout both are m43's own. In a repository that m43 was installed for, `m43 init` adds what
is missing, and no run is begun without it. Nothing is read or written here.
"""

import ast

from iniconfig import IniConfig, ParseError

from m43.errors import M43Error

CONFTEST, INI = "conftest.py", "pytest.ini"
_PLUGINS, _PLUGIN = "pytest_plugins", "m43.harness.plugin.plugin"
_SECTION, _MARKERS = "pytest", "markers"
_KINDS = ("production", "rehearsal")
# With these report.html is truthful after SIGKILL, and shows the gates in their order.
_KEYS = ("generate_report_on_test", "initial_sort", "render_collapsed")


class OtherSettingsError(M43Error):
    """A file of somebody's that lines alone do not make ready."""


def _other(file: str, found: str, expected: str, action: str) -> OtherSettingsError:
    return OtherSettingsError(found=found, expected=expected, where=file, action=action)


def with_plugin(text: str) -> str:
    """Return a conftest.py with the line that loads m43's plugin; as it is, if it has that.

    Raises: OtherSettingsError, where a line more is not enough, or where hooks would steer a run.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise _other(CONFTEST, str(error), "Python that can be read", "correct it") from None
    hooks = [each.name for each in body if isinstance(each, ast.FunctionDef) and is_hook(each.name)]
    if hooks:
        action = "move them to the conftest.py of the folder of your tests"
        raise _other(CONFTEST, f"hooks ({', '.join(hooks)})", "none, they steer a run", action)
    named = [code for code in map(ast.unparse, body) if _PLUGINS in code]
    if not named:
        before = f"{text.rstrip()}\n\n" if text.strip() else ""
        return _ended(f'{before}{_PLUGINS} = ["{_PLUGIN}"]\n', text)
    if not any(_PLUGIN in code for code in named):
        action = f'write "{_PLUGIN}" into them'
        raise _other(CONFTEST, f"{_PLUGINS} without that of m43", "it among them", action)
    return text


def is_hook(name: str) -> bool:
    """Tell whether pytest would call a function of this name."""
    return name.startswith("pytest_") and name != _PLUGINS


def with_settings(text: str, m43: str) -> str:
    """Return a pytest.ini with the settings that a run needs; as it is, if it has them.

    Args:
        text: Of the tree's own; empty where there is none.
        m43: Of m43's, which has them.

    Raises: OtherSettingsError, where it cannot be read, or one of them is set otherwise.
    """
    own, wanted, lines = _read(text), _read(m43), text.splitlines()
    found = dict(own[_SECTION].items()) if _SECTION in own else {}
    for key in _KEYS:
        value = wanted[_SECTION][key]
        if found.get(key, value) != value:
            raise _other(INI, f"{key} = {found[key]}", f"{value}, for m43's report", "set it so")
    marked = {_name(line) for line in found.get(_MARKERS, "").splitlines()}
    markers = [
        f"    {line}"
        for line in wanted[_SECTION][_MARKERS].splitlines()
        if _name(line) in _KINDS and _name(line) not in marked
    ]
    new = [f"{key} = {wanted[_SECTION][key]}" for key in _KEYS if key not in found]
    # From below, so that the places above stay what they are.
    if markers and _MARKERS in found:
        place = own.lineof(_SECTION, _MARKERS) or 0
        lines[place:place] = markers
    elif markers:
        new += [f"{_MARKERS} =", *markers]
    if _SECTION not in own:
        lines += [*([""] if lines else []), f"[{_SECTION}]"]
    place = own.lineof(_SECTION) or len(lines)
    lines[place:place] = new
    return _ended("\n".join(lines) + "\n", text) if new or markers else text


def _read(text: str) -> IniConfig:
    try:
        return IniConfig(INI, data=text)
    except ParseError as error:
        raise _other(INI, str(error), "settings that can be read", "correct it") from None


def _name(marker: str) -> str:
    return marker.partition(":")[0].partition("(")[0].strip()


def _ended(made: str, before: str) -> str:
    """Give lines the end that the lines of a file have."""
    return made.replace("\n", "\r\n") if "\r\n" in before else made
