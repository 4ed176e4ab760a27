"""`genie-robo export`: the trained Genie of a run as a folder to load anywhere."""

import logging

from genie_robo.checkpoint import load_genie
from genie_robo.config import ExportConfig
from genie_robo.run_folder import RunFolder

_log = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Write config.json and model.safetensors."""
    load_genie(RunFolder.at(config.run)).save_pretrained(config.output)
    _log.info("%s: load it with genie_robo.Genie.from_pretrained(%r)", config.output, config.output)
