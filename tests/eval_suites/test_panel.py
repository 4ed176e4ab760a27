import numpy as np
import pytest

from genie_robo.eval_suites.simulated.cloning_task import goal_of
from genie_robo.eval_suites.simulated.panel import Cloned, Late, Noisy, Slow, WrongTask
from genie_robo.policy.interface import Observation, actors


def points_at(frame, goal):
    """An action whose first number is the red of the goal's colour."""
    return np.array([goal[0] / 100, 0, 0, 0, 0, 0, 1.0])


@pytest.mark.parametrize(
    ("policy", "factor"),
    [
        (Cloned(points_at), 1.0),
        (Noisy(Cloned(points_at), 0.0), 1.0),
        (Slow(Cloned(points_at), 0.5), 0.5),
        (Late(Cloned(points_at)), 1.0),
        (WrongTask(Cloned(points_at)), 1.0),
    ],
)
def test_every_policy_of_a_batch_has_the_goal_of_its_own_episode(policy, factor):
    words = ["reach the red box", "reach the blue box"]
    seen = Observation(pixels=np.zeros((8, 8, 3), np.uint8), instruction="")
    found = [actor.act(seen)[0] for actor in actors(policy, words, [0, 1], name="it")]
    wanted = [goal_of(text)[0] / 100 * factor for text in words]
    np.testing.assert_allclose(found, wanted)
