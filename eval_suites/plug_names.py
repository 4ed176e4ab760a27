"""Names of the worlds and encoders of `plugs`. Imports no torch, unless a user's class does."""

from genie_robo.inference.plugged import find_plug

GENIE = "genie"
WORLD_NAMES = (
    GENIE,
    "mujoco",
    "mujoco_scaled",
    "mujoco_delayed",
    "mujoco_coded",
    "copy_first",
    "copy_last",
)
ENCODER_NAMES = (GENIE, "oracle", "random", "shuffled")


def check_plugs(*, world_model: str, encoder: str = GENIE) -> None:
    """Reject an unknown name before anything slow.

    Raises:
        ValueError: No such name, module or class.
    """
    find_plug(world_model, dict.fromkeys(WORLD_NAMES, _known), setting="world_model")
    find_plug(encoder, dict.fromkeys(ENCODER_NAMES, _known), setting="encoder")


def _known(_: None) -> None:
    """Stands for a name that is found elsewhere."""
