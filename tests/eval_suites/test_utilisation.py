"""Known answers of the utilisation of latent actions: worlds that execute a share of them."""

from dataclasses import dataclass

import numpy as np
import pytest
from eval_fakes import PIXEL_M, SIZE, SQUARE, ExactReader, MovingSquare, ToyRobot, make_context

from genie_robo.eval_suites.base import Transitions
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.probes.utilisation import DISTANCES, NAMES, draw_donors
from genie_robo.inference.world import Codes, HeldFrame, Latents

ROUND = (SIZE - SQUARE) * PIXEL_M
"""The square that leaves on one side comes back on the other."""


class SeesMotion:
    """Latents are the motion of the square, read from the frames alone."""

    num_codes, latents_steer = 4, True

    def encode(self, window):
        moved = np.diff(ExactReader().read(window.video).tool, axis=0)
        moved[:, :2] = (moved[:, :2] + ROUND / 2) % ROUND - ROUND / 2
        return Transitions((moved[:, 0] > 0) + 2 * (moved[:, 1] > 0), moved)


@dataclass
class Follows(MovingSquare):
    """Executes a share of the latent, and the rest of the prompt's own motion."""

    robot: ToyRobot
    share: float = 1.0
    takes = (Codes, Latents)

    def pose(self, prompt):
        return self.robot.pose_at(prompt)

    def start(self, prompts, seeds):
        names = [self.robot.name(e) for e in range(len(self.robot))]
        actions = [self.robot.actions[names.index(p.name)] for p in prompts]
        steps = [p.last_step for p in prompts]
        self.own = np.stack([a[s, :3] for a, s in zip(actions, steps, strict=True)])
        return super().start(prompts, seeds)

    def motions(self, actions):
        return self.share * actions.values + (1 - self.share) * self.own


@pytest.fixture(scope="module")
def robot():
    return ToyRobot(60, num_frames=6, correlation=0.0)


def measure(robot, world):
    context = make_context(robot, encoder=SeesMotion(), world=world)
    metrics = LatentProbe(labels=(10,)).evaluate(context).metrics
    return {name: metrics[f"achieved/xyz/{name}"] for name in NAMES}


def test_a_world_that_executes_the_latents_uses_all_of_them(robot):
    for metric in measure(robot, Follows(robot)).values():
        assert metric.value == pytest.approx(1.0, abs=0.02)
        assert metric.ceiling == pytest.approx(1.0, abs=0.02)


def test_a_world_that_ignores_the_latents_uses_none_of_them(robot):
    far = measure(robot, HeldFrame())["utilisation"]
    assert far.value == pytest.approx(0.0, abs=0.05)
    own = measure(robot, Follows(robot, share=0.0))
    for name in NAMES:
        assert own[name].value == pytest.approx(own[name].baselines["own_motion"], abs=0.05)
    assert own["utilisation/near"].value > own["utilisation/far"].value + 0.3


def test_donors_are_of_other_episodes_and_ever_farther(robot):
    from genie_robo.eval_suites.probes.data import collect_both
    from genie_robo.eval_suites.probes.scores import Motion, Probe

    context = make_context(robot, encoder=SeesMotion(), world=HeldFrame())
    fit, test = collect_both(context, max_episodes=30, name="test")
    probe = Probe(fit=fit, test=test, motion=Motion("achieved", (0, 1, 2)), num_codes=4)
    own = np.arange(0, len(test.codes), 5)
    donors = draw_donors(probe, own, seed=0)
    assert donors.shape == (len(own), len(DISTANCES))
    assert (test.episode[donors] != test.episode[own][:, None]).all()
    far = np.linalg.norm(test.latents[donors] - test.latents[own][:, None], axis=2)
    assert (np.diff(far, axis=1) >= 0).all()
    assert not np.array_equal(donors, draw_donors(probe, own, seed=1))
