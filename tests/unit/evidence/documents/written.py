"""Nodes as the two writers write them."""

from m43.evidence.documents.html import fragment
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.nodes import Node, Section, Text, Words


def as_markdown(*nodes: Node) -> str:
    """Write nodes as Markdown."""
    return markdown(Section("", nodes)).removesuffix("\n")


def as_html(*nodes: Node) -> str:
    """Write nodes as HTML."""
    return fragment(nodes)


def line(*words: Words) -> str:
    """Write words as a paragraph of Markdown."""
    return as_markdown(Text(words))
