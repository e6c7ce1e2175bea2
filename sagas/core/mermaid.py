"""Words for Mermaid: labels that cannot break a drawing, whatever is in them, and names that are none of its own.

Mermaid cuts a label at a quote, a semicolon or a hash, reads Markdown and HTML in it, and takes `end` for a word of
its own. So whatever is no letter, no digit and no harmless mark becomes an entity (`#59;`), names of nodes get a
prefix, and a label that begins like a list or a heading is no exception: it begins with an entity then.
`tests/browser` renders labels of every kind in a browser.
"""

LABEL_LENGTH_MAX = 120
"""Of a label, in characters: free text is cut, or one reason would fill the drawing."""

_PLAIN = frozenset(" ,_·…→()")
_INSIDE = frozenset(".-/")
"""Harmless but at the beginning, where they would make a list of the label."""


def label(text: str) -> str:
    """`text` as it may stand in a label; cut at `LABEL_LENGTH_MAX` characters."""
    shown = text if len(text) <= LABEL_LENGTH_MAX else f"{text[: LABEL_LENGTH_MAX - 1]}…"
    return "".join(_escaped(character, number) for number, character in enumerate(shown))


def _escaped(character: str, number: int) -> str:
    if character in _PLAIN or (character in _INSIDE and number):
        return character
    # The first digit too: `1. x` is a list. Letters outside of ASCII are as good as those inside.
    if character.isalpha() or (character.isdigit() and number):
        return character
    if not character.isprintable():
        return " "
    return f"#{ord(character)};"


def node(name: str) -> str:
    """A node's name, the same for the same `name`: never a word of Mermaid's."""
    return "n_" + "".join(c if c.isascii() and c.isalnum() else "__" if c == "." else f"_{ord(c)}_" for c in name)
