"""`python -m sagas.testing.conformance MODULE…`: attack what these modules declare as `CONFORMANCE`.

Prints a table each. Exit code 0 when all conform, 1 when one does not, 2 when there is nothing to attack.
"""

import sys
from collections.abc import Sequence

from sagas.errors import SagaError
from sagas.testing.conformance.loading import load_subject
from sagas.testing.conformance.run import conformance


def main(modules: Sequence[str]) -> int:
    """Attack each of `modules`; the exit code."""
    if not modules:
        sys.stderr.write("usage: python -m sagas.testing.conformance MODULE…\n")
        return 2
    is_passed = True
    for name in modules:
        try:
            subject = load_subject(name)
        except SagaError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        report = conformance(subject.service, subject.migrations, subject.examples)
        sys.stdout.write(f"{report}\n\n")
        is_passed = is_passed and report.is_passed
    return 0 if is_passed else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
