"""Simulation: a MuJoCo tabletop, its scripted policies and recordings.

`gymnasium.make("genie_robo.sim:Tabletop-v0")` finds the environment through this module.
"""

import gymnasium

gymnasium.register(id="Tabletop-v0", entry_point="genie_robo.sim.tabletop:Tabletop")
