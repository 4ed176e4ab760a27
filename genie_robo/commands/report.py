"""`genie-robo report`: the page to read first, of a run that was trained and evaluated."""

from rich.console import Console

from genie_robo.config import ReportConfig
from genie_robo.report.write import write_report
from genie_robo.run_folder import RunFolder
from genie_robo.run_lock import only_writer


def run(config: ReportConfig) -> None:
    """Write the report of what the run holds, and print where it is.

    Raises:
        ValueError: A metrics.json, the configuration or provenance.json cannot be read.
        RuntimeError: Another process writes into the run.
    """
    folder = RunFolder.at(config.run)
    with only_writer(folder):
        write_report(folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"report      {folder.report}\n            {folder.report_page}", markup=False)
