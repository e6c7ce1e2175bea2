"""How long something took, or takes, in words."""


def elapsed(duration_ms: int) -> str:
    """A duration as a person reads it: `84 ms`, `2.1 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if duration_ms < 1_000:
        return f"{duration_ms} ms"
    seconds = duration_ms // 1_000
    if seconds < 60:
        return f"{duration_ms // 100 / 10:.1f} s"
    for size, unit, below, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // below} {smaller}"
    raise AssertionError(f"{duration_ms} ms has no unit")


def overdue(passed_ms: int) -> str:
    """What is said of a run whose deadline passed that long ago, where a person's action lets it count again."""
    return f"its deadline passed {elapsed(passed_ms)} ago: it will be turned back at once"
