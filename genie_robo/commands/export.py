"""`genie-robo export`: the trained Genie of a run as a folder to load anywhere."""

import logging

from genie_robo.commands.base import Command
from genie_robo.config import ExportConfig
from genie_robo.run_folder import RunFolder

_log = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Write config.json and model.safetensors."""
    from genie_robo.checkpoint import load_genie

    load_genie(RunFolder.at(config.run)).save_pretrained(config.output)
    _log.info("%s: load it with genie_robo.Genie.from_pretrained(%r)", config.output, config.output)


COMMAND = Command(
    name="export",
    summary="write a run's Genie as a folder that Genie.from_pretrained loads",
    config=ExportConfig,
    run=run,
    details=(
        "Writes config.json and model.safetensors, the layout of Hugging Face. In Python, "
        "`from genie_robo import Genie; genie = Genie.from_pretrained(FOLDER)` gives the model "
        "back, offline and without executing code from the folder."
    ),
    examples=("genie-robo export run=runs/demo output=exported/demo",),
)
