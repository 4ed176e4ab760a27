"""Scripted policies from good to broken, as functions of the environment."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from eval_suites.clips import stable_seed
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.policies import make_policy
from genie_robo.sim.tabletop import Tabletop

EXPERT = "expert"
POLICIES: Mapping[str, tuple[str, float]] = {
    "expert": (EXPERT, 0.0),
    "expert_20": (EXPERT, 0.2),
    "expert_40": (EXPERT, 0.4),
    "expert_60": (EXPERT, 0.6),
    "empty_handed": ("empty_handed", 0.0),
    "random": ("random", 0.0),
    "jitter": ("jitter", 0.0),
    "idle": ("idle", 0.0),
    "wrong_way": ("wrong_way", 0.0),
}
"""From good to broken: a scripted policy (the expert is that of the task), and the share of its
actions that are replaced by random ones."""


def acting(policy: str, task: str, *, seed: int) -> Callable[[Tabletop], Float[np.ndarray, " 7"]]:
    """A policy of POLICIES as a function of the environment."""
    base, share = POLICIES[policy]
    scripted = make_policy(task if base == EXPERT else base, seed=seed, noise=0.0)
    rng = np.random.default_rng(stable_seed("replaced", seed, policy))

    def act(env: Tabletop) -> Float[np.ndarray, " 7"]:
        chosen = scripted.act(env)
        return rng.uniform(ACTION_LOW, ACTION_HIGH) if rng.random() < share else chosen

    return act
