"""`make guide`: write docs/guide.md anew."""

from pathlib import Path

from tests.guide.page import page

if __name__ == "__main__":
    Path("docs/guide.md").write_text(page(), encoding="utf-8")
