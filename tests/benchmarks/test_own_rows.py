"""The limit of the orchestrator's rows: what is written again is what an orchestrator writes, and all of it."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.own_rows import write_again, written_for
from sagas.ports import InstanceFilter
from sagas.store.sqlite import SqliteStore
from services.stories import Kind

MIXED: tuple[Kind, ...] = ("delivered", "delivered", "delivered", "delivered", "card declined")


@pytest.mark.parametrize(("together", "batch"), [(10, 1_000), (1, 1)])
def test_the_rows_written_again_are_whole_runs(tmp_path: Path, together: int, batch: int) -> None:
    path = tmp_path / "again.db"
    written = written_for(10, MIXED, together=together, batch=batch)
    assert len(write_again(written, path)) == len(written)
    with closing(SqliteStore(path)) as store:
        assert store.counts() == {"completed": 8, "compensated": 2}
        assert store.in_flight() == 0
        assert store.next_due_ms() is None
        runs = store.instances(InstanceFilter(count_max=100))
        assert [len(store.journal(run.id)) for run in runs] == [run.revision for run in runs]


def test_an_order_alone_is_five_transactions() -> None:
    assert len(written_for(3, ("delivered",), together=1, batch=1)) == 15


def test_a_batch_of_the_load_is_one_transaction() -> None:
    # A start and four answers of each that completes; a start, three answers and two of undoing of the others.
    assert len(written_for(10, MIXED, together=10, batch=10)) == 6
