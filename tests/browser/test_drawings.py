"""Every drawing of diagrams/ renders in a real browser with all its words, and no word can break one."""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sagas.core.mermaid import label, node
from tests.browser.conftest import ROOT, Browser, Page

MERMAID = ROOT / ".browser" / "package" / "dist" / "mermaid.min.js"

DRAWINGS = sorted((ROOT / "diagrams").glob("*.mmd"))

SEED = 20261124
LABELS = 100

_QUOTED = re.compile(r'"([^"]*)"')
_SAID = re.compile(r"^(?:\S+(?:->>|-->>|--x)\S+|Note over \S+|participant \S+ as)[: ]+(.*)$")
_ENTITY = re.compile(r"#(\d+);")

_RENDER = """async (texts) => {
    mermaid.initialize({startOnLoad: false, securityLevel: "strict", maxEdges: 2000, theme: "neutral"});
    const found = [];
    for (const [number, text] of texts.entries()) {
        try {
            const {svg} = await mermaid.render("drawing" + number, text);
            document.getElementById("place").innerHTML = svg;
            const place = document.querySelector("#place svg");
            const nodes = [...place.querySelectorAll("g.edgePaths path, path.flowchart-link")];
            found.push({
                text: [...place.children].filter(n => n.tagName !== "style").map(n => n.textContent).join(" "),
                error: place.getAttribute("aria-roledescription") === "error" ? "error drawing" : "",
                dashes: nodes.map(n => getComputedStyle(n).strokeDasharray + " " + getComputedStyle(n).strokeWidth),
            });
        } catch (error) {
            found.push({text: "", error: String(error).slice(0, 400), dashes: []});
        }
    }
    return found;
}"""


@pytest.fixture
def drawing_board(page: Page) -> Page:
    if not MERMAID.is_file():
        pytest.fail(f"no {MERMAID.relative_to(ROOT)}; run these tests with `make browser`")
    page.set_viewport_size({"width": 1600, "height": 1200})
    page.set_content('<!doctype html><body style="background:white"><div id="place"></div>')
    page.add_script_tag(path=str(MERMAID))
    return page


def render(page: Page, *texts: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(_RENDER, list(texts))
    return found


def words_of(drawing: str) -> Iterator[str]:
    """Everything that a reader of the drawing should see, entities read."""
    for line in drawing.splitlines()[1:]:
        said = _SAID.match(line.strip())
        found = [said[1]] if said else _QUOTED.findall(line)
        for text in found:
            for part in text.split("<br/>"):
                yield _ENTITY.sub(lambda match: chr(int(match[1])), part)


def bare(text: str) -> str:
    """Without white space: lines are broken where they fit."""
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_every_drawing_renders_with_every_word_in_it(path: Path, drawing_board: Page, screenshots: Path) -> None:
    text = path.read_text(encoding="utf-8")

    (drawn,) = render(drawing_board, text)
    drawing_board.locator("#place svg").screenshot(path=str(screenshots / f"{path.stem}.png"))

    assert drawn["error"] == ""
    shown = bare(drawn["text"])
    assert [word for word in words_of(text) if bare(word) not in shown] == []


def test_the_kinds_of_move_differ_in_their_lines_as_the_browser_draws_them(drawing_board: Page) -> None:
    text = (ROOT / "diagrams" / "order.mmd").read_text(encoding="utf-8")

    (drawn,) = render(drawing_board, text)

    assert len(set(drawn["dashes"])) >= 5, "forward, refused, back, unknown and stuck are five kinds of line"


NASTY = (
    "end", "end end", "subgraph", "graph TD", "click", "class a b", "style x", "default", "%% no comment", "%%{init}%%",
    "a;b", "a:b", "a::b", ":::x", 'say "no"', "it's", "`code`", "**bold**", "_x_", "1. one", "- dash", "* star",
    "# head", "a --> b", "a|b", "{a}", "[a]", "(a)", "((a))", "<b>bold</b>", "<script>alert(1)</script>", "a<br/>b",
    "&amp;", "&lt;", "#35;", "#quot;", "\\n", "\\", "$x$", "$$x$$", "@{ shape: x }", "~~~", "===", "---",
    "---\ntitle: x", "wrap: x", "nowrap: x", "ü ß 漢字 ✓ 🎉", "\u202eevil", "a\tb", "a\nb", "\x00", "o--o", "x--x",
    "%", "^", "note over a",
)  # fmt: skip


def a_label(random: Random) -> str:
    alphabet = " abcend;:#\"'`|<>[](){}%&*_-=+~$@!?/\\.,^0123456789äß漢→·\n\t\x1b"
    return "".join(random.choice(alphabet) for _ in range(random.randint(1, 24)))


def test_no_word_breaks_a_drawing(browser: Browser, drawing_board: Page) -> None:
    print(f"seed {SEED}")
    random = Random(SEED)
    words = [*NASTY, *(a_label(random) for _ in range(LABELS))]
    flowcharts = [f'flowchart TD\n    {node(w)}["{label(w)}"]\n    {node(w)} -->|"{label(w)}"| b' for w in words]
    sequences = [
        f"sequenceDiagram\n    participant {node(w)} as {label(w)}\n    {node(w)}->>{node(w)}: {label(w)}\n"
        f"    Note over {node(w)}: {label(w)}"
        for w in words
    ]

    drawn = render(drawing_board, *flowcharts, *sequences)

    broken = [
        (word, found["error"] or found["text"][:200])
        for word, found in zip([*words, *words], drawn, strict=True)
        if found["error"] or bare(_shown(word)) not in bare(found["text"])
    ]
    assert broken == []


def _shown(word: str) -> str:
    return "".join(character for character in word if character.isprintable())
