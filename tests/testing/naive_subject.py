"""A participant with every flaw, declared as a module declares one."""

from sagas.testing.conformance import Subject
from tests.testing.naive import MIGRATIONS, Flaw, Naive
from tests.testing.test_conformance import EXAMPLE

CONFORMANCE = Subject(Naive(Flaw.ALL), MIGRATIONS, [EXAMPLE])
