"""`genie-robo export`: the trained Genie of a run as a folder to load anywhere."""

import logging
from pathlib import Path

from genie_robo.api.card import model_card
from genie_robo.api.exported import write_export
from genie_robo.api.opening import of_run
from genie_robo.checkpoint import require_weights
from genie_robo.config import ActionMapConfig, ExportConfig
from genie_robo.fit_action_map import find_action_map, saved_action_map
from genie_robo.inference.action_map import ActionMap
from genie_robo.pretrained import Genie
from genie_robo.trained_run import TrainedRun, open_run

_log = logging.getLogger(__name__)


def run(config: ExportConfig) -> None:
    """Write the models with their action map, trust and model card.

    Raises:
        FileNotFoundError: Robot control is wanted, but was not trained.
        ValueError: A file of the run is damaged.
    """
    trained = open_run(config.run, device="cpu")
    genie = of_run(trained, _model(trained, config), _action_map(trained), sampler=None)
    folder = Path(config.output)
    write_export(folder, genie, model_card(genie, trained.folder, name=folder.name))
    model = genie.model
    if model.takes_codes and model.takes_robot_actions:
        _log.info("robot actions steer it, learned by stage=robot_control, and latent actions")
    _log.info("%s: load it with genie_robo.load(%r)", config.output, config.output)


def _model(trained: TrainedRun, config: ExportConfig) -> Genie:
    if config.robot_control is False:
        return trained.genie
    if trained.robot_genie is None and config.robot_control:
        require_weights(trained.folder, "robot_dynamics")
    return trained.robot_genie or trained.genie


def _action_map(trained: TrainedRun) -> ActionMap | None:
    """The one that is kept in the run; else it is fitted, if the dataset is there."""
    found = saved_action_map(trained)
    if found is not None:
        return found
    try:
        return find_action_map(trained, num_labels=ActionMapConfig.num_labels)
    except FileNotFoundError as error:
        _log.warning("exported without an action map: %s", error)
        return None
