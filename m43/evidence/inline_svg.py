"""The inline SVG: a picture of matplotlib as a part of a page.

A page that allows no inline style (its content security policy says so) and has a dark scheme needs
three things that matplotlib does not write: style as attributes, colours that the page names, and
ids that no other picture on the page has.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from m43.evidence import plots

_XLINK = "{http://www.w3.org/1999/xlink}href"

# Colours as the page's style names them.
_COLOURS: Mapping[str, str] = {
    "#000000": "currentColor",
    "#ffffff": "none",
    plots.GRID: "var(--line)",
    plots.WARNING: "var(--bad)",
    plots.FAINT[0]: "var(--faint-a)",
    plots.FAINT[1]: "var(--faint-b)",
    plots.STRONG[0]: "var(--strong-a)",
    plots.STRONG[1]: "var(--strong-b)",
}


def inline_svg(svg: str, name: str) -> str:
    """Rewrite a picture for a page; `name` begins every id in it."""
    root = ET.fromstring(svg)
    used = _references(root)
    for parent in list(root.iter()):
        for child in list(parent):
            if _tag(child) in ("metadata", "style"):
                parent.remove(child)
    for node in root.iter():
        node.tag = _tag(node)
        for key, value in _attributes(node, used, name).items():
            node.set(key, value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", "plot")
    root.set("fill", "currentColor")
    # What matplotlib says in the style element for every node.
    root.set("stroke-linejoin", "round")
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _tag(node: ET.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def _references(root: ET.Element) -> set[str]:
    """Collect the ids that something in the picture points to."""
    used = set((root.get("aria-labelledby") or "").split())
    for node in root.iter():
        for key, value in node.attrib.items():
            if key == _XLINK:
                used.add(value[1:])
            elif value.startswith("url(#"):
                used.add(value[5:-1])
    return used


def _attributes(node: ET.Element, used: set[str], name: str) -> Mapping[str, str]:
    """Take a node's attributes away and give what stands in their place."""
    old = dict(node.attrib)
    node.attrib.clear()
    new: dict[str, str] = {}
    for key, value in old.items():
        if key == "style":
            new |= _style(value)
        elif key == "id":
            # Pictures name title and description after themselves already.
            own = value if value.startswith(name) else f"{name}-{value}"
            new |= {"id": own} if value in used else {}
        elif key == _XLINK:
            new["href"] = f"#{name}-{value[1:]}"
        elif value.startswith("url(#"):
            new[key] = f"url(#{name}-{value[5:-1]})"
        else:
            new[key] = _COLOURS.get(value, value)
    return new


def _style(text: str) -> Mapping[str, str]:
    """Write declarations as attributes."""
    pairs = (part.split(":", 1) for part in text.split(";") if ":" in part)
    found = {key.strip(): value.strip() for key, value in pairs}
    # A shorthand, and so no attribute: "10px 'DejaVu Sans', sans-serif". The family is the page's.
    font = found.pop("font", "")
    if font:
        found["font-size"] = next(word for word in font.split() if word.endswith("px"))
    found.pop("font-family", None)
    return {key: _COLOURS.get(value, value) for key, value in found.items()}
