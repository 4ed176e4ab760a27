"""Two Gymnasium environments: a MuJoCo tabletop, and the world that a trained model imagines.

`gymnasium.make("genie_robo.sim:Genie/Tabletop-v0")` finds them through this module.

Raises:
    ImportError: MUJOCO_GL names a graphics library that does not work on this machine.
"""

import os

import gymnasium

try:
    import mujoco  # noqa: F401 (fails at once when MUJOCO_GL names a library that is not there)
except (AttributeError, ImportError, RuntimeError) as error:
    if "MUJOCO_GL" not in os.environ:
        raise
    raise ImportError(
        f"MuJoCo does not start with MUJOCO_GL={os.environ['MUJOCO_GL']} here ({error}); unset "
        f"MUJOCO_GL: renderer= names what draws, and renderer=raycast needs no graphics library"
    ) from error

gymnasium.register(id="Genie/Tabletop-v0", entry_point="genie_robo.sim.tabletop:Tabletop")
gymnasium.register(
    id="Genie/Imagined-v0",
    entry_point="genie_robo.sim.imagined:Imagined",
    vector_entry_point="genie_robo.sim.imagined:ImaginedVector",
)
