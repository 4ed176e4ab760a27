"""The command line in this process."""

from tests.commands import conftest as commands

run_cli = commands.run_cli
