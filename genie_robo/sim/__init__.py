"""Two Gymnasium environments: a MuJoCo tabletop, and the world that a trained model imagines.

`gymnasium.make("genie_robo.sim:Genie/Tabletop-v0")` finds them through this module.
"""

import importlib
import logging
import os

import gymnasium

_log = logging.getLogger(__name__)


def _start_mujoco() -> None:
    """Import MuJoCo, which fails where MUJOCO_GL names a graphics library that is not there.

    Nothing here draws through that library: `renderer=` names what draws, and reading a dataset
    draws nothing. So MuJoCo is then imported without one.
    """
    wanted, platform = os.environ.get("MUJOCO_GL"), os.environ.get("PYOPENGL_PLATFORM")
    try:
        importlib.import_module("mujoco")
    except (AttributeError, ImportError, OSError, RuntimeError) as error:
        if wanted is None:
            raise
        _log.warning(
            "MUJOCO_GL=%s does not work here (%s) and is ignored: renderer= names what draws",
            wanted,
            error,
        )
        os.environ["MUJOCO_GL"] = "disable"
        try:
            importlib.import_module("mujoco")
        finally:
            os.environ["MUJOCO_GL"] = wanted
            # A library that fails leaves its name behind, which stops the next one.
            if platform is None:
                os.environ.pop("PYOPENGL_PLATFORM", None)


_start_mujoco()

MAX_EPISODE_STEPS = 40
"""Actions until Gymnasium truncates an episode, unless `max_episode_steps` says otherwise."""

gymnasium.register(
    id="Genie/Tabletop-v0",
    entry_point="genie_robo.sim.tabletop:Tabletop",
    max_episode_steps=MAX_EPISODE_STEPS,
)
gymnasium.register(
    id="Genie/Imagined-v0",
    entry_point="genie_robo.sim.imagined:Imagined",
    vector_entry_point="genie_robo.sim.imagined:ImaginedVector",
    max_episode_steps=MAX_EPISODE_STEPS,
)
