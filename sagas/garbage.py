"""How often a long-lived process looks for garbage in cycles.

Theory of operation. Reference counts free what batches leave behind. The collector, which is there for cycles, counts
what is made and not yet freed, and a batch makes thousands of records: with Python's defaults it goes through all of
them, and now and then through every module, several times a batch. A process that is up tells it that what is there
stays, and to look after 50,000 new objects instead of 700.
"""

import gc

YOUNG_MAX = 50_000


def expect_batches() -> None:
    """Call it once, when a process has loaded what it keeps."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 50)
