"""`sagas conformance`: attack participants, and show what they withstood."""

import click
from rich_click import RichCommand

from sagas.cli.output import explained, say, say_json, table
from sagas.testing.conformance import Report, conformance, load_subject


@click.command(cls=RichCommand)
@click.argument("modules", metavar="MODULE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@explained
def command(modules: tuple[str, ...], as_json: bool) -> None:
    """Attack the participants that these modules declare as CONFORMANCE, and show what they withstood."""
    subjects = [load_subject(name) for name in modules]
    reports = [conformance(subject.service, subject.migrations, subject.examples) for subject in subjects]
    if as_json:
        say_json([{"participant": r.participant, "is_passed": r.is_passed, "rows": r.rows} for r in reports])
    else:
        for report in reports:
            _print(report)
    if not all(report.is_passed for report in reports):
        raise SystemExit(1)


def _print(report: Report) -> None:
    table(
        ("command", "line", "outcome", "seen"),
        [(row.command, row.line, row.outcome, row.seen) for row in report.rows],
    )
    say()
    say(report.summary)
    say()
