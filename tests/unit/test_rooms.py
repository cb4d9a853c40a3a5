"""The house stays one that can be seen: few files a folder, none too long, none too small."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from m43 import errors

M43 = Path(errors.__file__).resolve().parent
MOST_FILES = 14
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES = 350
# A file of up to so many lines says in its docstring why it is one.
MOST_LINES_WITH_A_REASON = 450
REASON = "One file: "
SMALL = 60


def rooms(house: Path) -> list[Path]:
    """List every module but the folders' faces."""
    return sorted(path for path in house.rglob("*.py") if path.name != "__init__.py")


def too_many(house: Path) -> Iterator[str]:
    """Name the folders that hold more files than a person takes in at a look."""
    for folder in sorted({path.parent for path in rooms(house)}):
        count = sum(path.parent == folder for path in rooms(house))
        if count > MOST_FILES:
            yield f"{folder.relative_to(house.parent)}: {count} files, at most {MOST_FILES}"


def too_long(house: Path) -> Iterator[str]:
    """Name the functions and files that are longer than they may be."""
    for path in rooms(house):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        name = path.relative_to(house.parent)
        lines = len(text.splitlines())
        reasoned = REASON in " ".join((ast.get_docstring(tree) or "").split())
        if lines > (MOST_LINES_WITH_A_REASON if reasoned else MOST_LINES):
            yield f"{name}: {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    yield f"{name}, {node.name}: {length} lines"


def imports(path: Path, house: Path) -> Iterator[tuple[int, str, str]]:
    """Give every import of the house in a file: its line, the module and the name, if one is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in found:
            if module.partition(".")[0] == house.name:
                yield node.lineno, module, name


def dotted(path: Path, house: Path) -> str:
    """Name a file as a module."""
    return ".".join(path.relative_to(house.parent).with_suffix("").parts)


def too_small(house: Path) -> Iterator[str]:
    """Name the files that one other alone imports and that are not worth a door."""
    # What a face hands on comes from the file behind it.
    behind = {
        f"{dotted(face.parent, house)}.{name}": module
        for face in house.rglob("__init__.py")
        for _, module, name in imports(face, house)
    }
    importers: dict[str, set[Path]] = {}
    for path in rooms(house):
        for _, module, name in imports(path, house):
            named = f"{module}.{name}"
            for target in (module, named, behind.get(named, "")):
                importers.setdefault(target, set()).add(path)
    for path in rooms(house):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        others = importers.get(dotted(path, house), set())
        if lines < SMALL and len(others) == 1:
            (other,) = others
            name = dotted(path, house)
            yield f"{name}: {lines} lines, for {other.relative_to(house.parent)} alone"


# Faces that import nothing: what lies in them is named in full. The probe runs in an environment
# that holds nothing, and a command loads what it needs when it is called.
OPEN = ("evidence", "harness", "harness/commands", "harness/plugin", "training")


def behind_the_face(house: Path) -> Iterator[str]:
    """Name the imports that go past the face of another folder, and the folders without one."""
    for folder in sorted({path.parent for path in rooms(house)}):
        face = folder / "__init__.py"
        if not face.is_file() or not ast.get_docstring(ast.parse(face.read_text("utf-8"))):
            yield f"{folder.relative_to(house.parent)}: no __init__ that says what it is for"
    for path in rooms(house):
        for line, module, _ in imports(path, house):
            file = house.parent.joinpath(*module.split(".")).with_suffix(".py")
            near = file.parent in (house.parent, house, path.parent)
            folder = "" if near else file.parent.relative_to(house).as_posix()
            if file.is_file() and not near and folder not in OPEN:
                yield f"{path.relative_to(house.parent)}:{line}: {module}"


CHECKS = (too_many, too_long, too_small, behind_the_face)


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_can_be_seen(check: object) -> None:
    """Each line is a folder, file or function that has to be divided, or joined to another."""
    assert callable(check)
    assert list(check(M43)) == []


def built(folder: Path, files: dict[str, str]) -> Path:
    """Write a house of its own."""
    for name, text in files.items():
        path = folder / "house" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "house"


def test_a_house_with_every_fault_is_told(tmp_path: Path) -> None:
    """A folder of fifteen, a function of 61 lines, a file of 351, one of 451, one for one alone."""
    long = "def f():\n" + "    pass\n" * 60
    house = built(
        tmp_path,
        {
            **{f"many/m{number:02}": "" for number in range(15)},
            "function": long,
            "file": "\n" * 351,
            "reasoned": f'"""A table.\n\n{REASON}it is one table.\n"""\n' + "\n" * 346,
            "endless": f'"""{REASON}because."""\n' + "\n" * 450,
            "small": "X = 1\n",
            "importer": "from house.small import X\n" + "\n" * 60,
        },
    )
    assert list(too_many(house)) == ["house/many: 15 files, at most 14"]
    assert list(too_long(house)) == [
        "house/endless.py: 451 lines",
        "house/file.py: 351 lines",
        "house/function.py, f: 61 lines",
    ]
    assert list(too_small(house)) == ["house.small: 1 lines, for house/importer.py alone"]


def test_an_import_past_a_face_is_told(tmp_path: Path) -> None:
    """From the folder itself, and from one without a face of its own, everything is near."""
    house = built(
        tmp_path,
        {
            "__init__": '"""A house."""',
            "records/__init__": '"""Records."""\nfrom house.records.gate import X\n',
            "records/gate": "X = 1\n",
            "records/other": "from house.records.gate import X\n",
            "rows/row": "from house.records.gate import X\nfrom house.records import X as Y\n",
        },
    )
    assert list(behind_the_face(house)) == [
        "house/rows: no __init__ that says what it is for",
        "house/rows/row.py:1: house.records.gate",
    ]
    # Through the face or past it: the file is imported by two.
    assert list(too_small(house)) == []
