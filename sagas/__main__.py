"""`python -m sagas`: the same as the command `sagas`."""

from sagas.cli.main import main

main()
