"""`sagas`: the command line. Each command is in a file of its own and is loaded when it is used.

The group itself imports little but click and rich-click, so that `sagas --help` answers at once.
"""

import importlib
import sys
from typing import Any

import click
from rich_click import RichCommand, RichGroup

from sagas.streams import give_up_output, prepare_streams

COMMANDS = {
    "list": "List the instances, newest first.",
    "show": "Tell the story of one instance.",
    "verify": "Build every instance again from its journal, and compare.",
    "start": "Start an instance by publishing its event.",
    "signal": "Publish an event that an instance waits for.",
    "retry": "Send again what an instance is stuck over.",
    "resolve": "Say what became of the effect it is stuck over.",
    "cancel": "Turn an instance back.",
    "abandon": "Leave an instance as it is, for ever.",
    "dlq": "Deal with messages that could not be dealt with.",
    "restored": "Deal with a participant's database from a backup.",
    "diagram": "Draw a saga as Mermaid text.",
    "check": "Explore every run of a saga, draw the shortest gone wrong.",
    "rollout": "Say what a new version does to live instances.",
    "conformance": "Attack participants, and show what they withstand.",
    "config": "Show the settings, and where each comes from.",
    "run": "Run the orchestrator.",
    "replay": "Build a read model anew from its topics, compare, swap it in.",
    "broker": "Run the embedded broker, for development and tests.",
}
"""Each command with its line in `sagas --help`; its file has its name, but for `list`."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended: 128 and the number of the signal."""

_FILES = {"list": "list_instances"}


class _Unloaded(RichCommand):
    """Stands for a command until it is used."""

    def load(self) -> click.Command:
        assert self.name is not None
        module = importlib.import_module(f"sagas.cli.{_FILES.get(self.name, self.name)}")
        command = module.command
        assert isinstance(command, click.Command)
        command.name = self.name
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the real command, which is also what is invoked in it."""
        return self.load().make_context(info_name, args, parent, **extra)


class _Commands(RichGroup):
    """The group of all commands, none of them loaded."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order an operator meets them."""
        return list(COMMANDS)

    def invoke(self, ctx: click.Context) -> Any:
        """What the command gives. Ctrl-C ends it as a shell expects, where it does not end by itself."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, not loaded yet."""
        line = COMMANDS.get(cmd_name)
        return None if line is None else _Unloaded(name=cmd_name, help=line)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="iggy-sagas", message="sagas %(version)s")
def cli() -> None:
    """Sagas on Apache Iggy: where each instance stands, and why."""


def main() -> None:
    """Run the command line and end the process: 0 done, 1 it failed or is not there, 2 it was asked wrongly.

    A reader that has seen enough (`sagas list | head`) ends it quietly: click sees to that. So does Ctrl-C, with 130.
    """
    prepare_streams()
    try:
        cli.main(prog_name="sagas")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        give_up_output()
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"sagas: {where}{error.strerror or error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
