"""`genie-robo audit`: what a table of predicted and true success supports."""

from pathlib import Path

from rich.console import Console

from genie_robo.atomic import replacing
from genie_robo.command_line import printable
from genie_robo.config import AuditConfig
from genie_robo.eval_suites.audit.checks import audit
from genie_robo.eval_suites.audit.page import audit_figure, audit_json, audit_page
from genie_robo.eval_suites.audit.trials_file import read_trials
from genie_robo.run_folder import write_atomic


def run(config: AuditConfig) -> None:
    """Print the audit of a table; with a folder, write audit.md, audit.json and audit.png too.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no table of trials.
    """
    path = Path(config.table)
    tables = read_trials(path)
    audits = {task: audit(outcomes, seed=config.seed) for task, outcomes in tables.items()}
    lines = [f"# {path.name}", "", *audit_page(audits)]
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n".join(map(printable, lines)), markup=False)
    if config.output:
        folder = Path(config.output)
        write_atomic(folder / "audit.md", "\n".join([*lines, "", "![](audit.png)"]) + "\n")
        write_atomic(folder / "audit.json", audit_json(audits))
        with replacing(folder / "audit.png") as temporary:
            audit_figure(audits).savefig(temporary, format="png")
        console.print(f"\naudit  {folder / 'audit.md'}", markup=False)
