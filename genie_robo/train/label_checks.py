"""Which settings of labels fit: their number, one dataset, a model they do not steer. No torch."""

from genie_robo.config import DemoConfig
from genie_robo.models.settings import Steering
from genie_robo.train.settings import ALL_LABELS, Stage, TrainConfig


def number_of_labels(config: TrainConfig | DemoConfig) -> int | None:
    """How many labelled transitions stage 3 may use; None for all.

    Raises:
        ValueError: `labels` is neither `all` nor a positive number.
    """
    if config.labels == ALL_LABELS:
        return None
    if not config.labels.isdecimal() or int(config.labels) < 1:
        raise ValueError(
            f"labels={config.labels}: stage=robot_control needs labelled transitions, a number "
            f"above 0 or {ALL_LABELS}"
        )
    return int(config.labels)


def check_labels(stage: Stage, config: TrainConfig | DemoConfig) -> None:
    """Refuse labels that do not exist.

    Raises:
        ValueError: Robot actions are used in a mixture of datasets, or of a model that they steer
            already, or their number is none.
    """
    by_robot = config.model.dynamics.steered_by is Steering.robot_actions
    if stage is Stage.robot_control:
        number_of_labels(config)
        if by_robot:
            raise ValueError(
                "stage=robot_control is for a dynamics that latent actions steer; with "
                "model.dynamics.steered_by=robot_actions robot actions steer it already"
            )
    elif stage is Stage.tokenizer or not (by_robot or config.latent_action_labels.num_transitions):
        return
    if config.data.mix:
        raise ValueError(
            "stage=robot_control, model.dynamics.steered_by=robot_actions and "
            "latent_action_labels.num_transitions need the scale of one dataset's actions, but "
            f"data.mix has {len(config.data.mix)} more; train on one"
        )
