"""The drawings of diagrams/, made from the definitions and from stories played by the kernel: `make diagrams`."""

import sys
from pathlib import Path

from sagas.cli.definitions import load
from sagas.core.diagram import mermaid, progress_of
from sagas.core.sequence import sequence
from sagas.core.topology import topology
from services.orders.saga import order_saga
from tests.cli.conftest import a_declined_order

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "diagrams"


def drawings() -> dict[str, str]:
    """Each file of diagrams/ with what belongs in it."""
    order, declined = order_saga.definition, a_declined_order("o-1")
    return {
        "order.mmd": mermaid(order),
        "order-declined.mmd": mermaid(order, progress=progress_of(declined.instance, declined.journal)),
        "order-declined-messages.mmd": sequence(order, declined.instance, declined.journal),
        "topics.mmd": topology([order]),
        **{f"{d.name}.mmd": mermaid(d) for d in load(example_modules())},
    }


def example_modules() -> list[str]:
    """The modules of examples/, each with a saga."""
    return [f"examples.{path.parent.name}.saga" for path in sorted((ROOT / "examples").glob("*/saga.py"))]


def main() -> None:
    """Write those that are not as they should be, and remove those that are nobody's."""
    wanted = drawings()
    for path in FOLDER.glob("*.mmd"):
        if path.name not in wanted:
            path.unlink()
            sys.stdout.write(f"removed diagrams/{path.name}\n")
    FOLDER.mkdir(exist_ok=True)
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"diagrams/{name}\n")


if __name__ == "__main__":
    main()
