"""`genie-robo export`: the trained Genie of a run as a folder to load anywhere."""

import logging

from genie_robo.checkpoint import load_genie, load_robot_genie, require_weights
from genie_robo.config import ExportConfig
from genie_robo.run_folder import RunFolder

_log = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Write config.json and model.safetensors.

    Raises:
        FileNotFoundError: Robot control is wanted, but was not trained.
    """
    run = RunFolder.at(config.run)
    genie = load_genie(run)
    if config.robot_control is not False:
        controlled = load_robot_genie(run, genie)
        if controlled is None and config.robot_control:
            require_weights(run, "robot_dynamics")
        genie = controlled or genie
    genie.save_pretrained(config.output)
    if genie.takes_codes and genie.takes_robot_actions:
        _log.info("robot actions steer it, learned by stage=robot_control, and latent actions")
    _log.info("%s: load it with genie_robo.Genie.from_pretrained(%r)", config.output, config.output)
