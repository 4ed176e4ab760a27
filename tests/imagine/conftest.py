"""The command line in this process, and two runs that share a dataset."""

from tests.commands import conftest as commands

run_cli, runs = commands.run_cli, commands.runs
