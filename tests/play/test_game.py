from dataclasses import replace

import numpy as np
import pytest

from genie_robo.inference.rollout import Imagination
from genie_robo.play.true_world import split_action
from genie_robo.sim.tabletop import Tabletop


def frames(game):
    return np.stack([moment.frame for moment in game.moments])


def play(game, codes):
    for code in codes:
        game.press_code(code)
    return frames(game)


def test_same_seed_and_actions_give_the_same_frames(make):
    first, again, other = make(), make(), make(seed=1)

    assert (play(first, [0, 3, 1]) == play(again, [0, 3, 1])).all()
    assert (play(other, [0, 3, 1])[0] == frames(first)[0]).all()
    assert (frames(other)[1:] != frames(first)[1:]).any()


def test_undo_gives_the_earlier_frames_and_another_future(make):
    game = make()
    before = play(game, [1, 2, 3])
    game.undo()
    game.undo()
    assert (frames(game) == before[:2]).all()

    assert (play(game, [2, 3]) == before).all()
    game.undo()
    straight = play(make(), [1, 2, 0])
    assert (play(game, [0]) == straight).all()
    assert [action.name for action in game.actions] == ["1", "2", "0"]


def test_nothing_is_undone_before_the_prompt_and_reset_goes_back_to_it(make):
    game = make()
    prompt = game.now
    game.undo()
    assert game.moments == [prompt]

    before = play(game, [4, 4])
    game.reset()
    assert game.moments == [prompt]
    assert (play(game, [4, 4]) == before).all()


def test_a_step_that_failed_did_not_happen(make, monkeypatch):
    game, undisturbed = make(), make()
    play(game, [1])

    def fail_late(self, latent_action, step=Imagination.step):
        step(self, latent_action)
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Imagination, "step", fail_late)
        with pytest.raises(RuntimeError, match="out of memory"):
            game.press_code(2)

    assert len(game.actions) == 1
    assert (play(game, [2]) == play(undisturbed, [1, 2])).all()


def test_every_frame_says_how_unsure_the_model_was(make):
    game = make()
    play(game, [0, 1])

    assert game.moments[0].uncertainty == 0.0
    assert all(0 < moment.uncertainty < np.log(20) + 1e-6 for moment in game.moments[1:])


def test_speed_counts_every_frame_that_was_imagined(make):
    game = make()
    assert game.speed == "no frame imagined"

    play(game, [0, 1])
    game.undo()
    game.latencies_s[:] = [0.02, 0.03]
    assert game.speed == "2 frames imagined, 25 ms each (median), 40.0 frames per second"


@pytest.mark.parametrize("code", [-1, 5])
def test_codes_that_the_model_lacks_are_refused(make, code):
    with pytest.raises(ValueError, match=rf"code {code} is not one of this model's: 0 to 4"):
        make().press_code(code)


def test_without_an_action_map_no_robot_and_no_truth(make):
    game = make()
    game.press_code(0)

    assert game.now.truth is None
    assert game.actions[0].robot_action is None
    with pytest.raises(ValueError, match="it has no action map"):
        game.move("+x", np.array([0.04, 0.0, 0.0]))


def test_mujoco_executes_the_mean_robot_action_of_a_code(mapped):
    game = mapped()
    start = game.start
    play(game, [4, 3])

    with Tabletop(scene=start.sim.scene) as env:
        env.restore(start.sim.scene, start.sim.physics)
        true = [env.render()]
        for dx in (0.04, 0.02):
            env.advance(np.array([dx, 0, 0, 0, 0, 0, 1.0]))
            true.append(env.render())
    assert (np.stack([moment.truth.frame for moment in game.moments]) == np.stack(true)).all()


def test_mujoco_takes_back_what_the_model_takes_back(mapped):
    game, straight = mapped(), mapped()
    play(game, [4, 0])
    game.undo()
    game.press_code(3)
    play(straight, [4, 3])

    assert (game.now.truth.frame == straight.now.truth.frame).all()
    assert (game.now.truth.state.physics == straight.now.truth.state.physics).all()


def test_a_robot_action_steers_both(mapped):
    game = mapped()
    game.move("+x", np.array([0.04, 0.0, 0.0]))
    by_code = mapped()
    by_code.press_code(4)

    action = game.actions[0]
    assert (action.name, action.code) == ("+x", 4)
    assert (action.robot_action == [0.04, 0, 0, 0, 0, 0, 1]).all()
    assert (game.now.frame == by_code.now.frame).all()
    assert (game.now.truth.frame == by_code.now.truth.frame).all()
    assert (game.now.truth.frame != game.moments[0].truth.frame).any()


def test_what_a_code_leaves_unsaid_of_a_motion_goes_into_the_next(mapped):
    game = mapped()
    for _ in range(3):
        game.move("a bit", np.array([0.008, 0.0, 0.0]))
    codes = [action.code for action in game.actions]
    assert codes == [2, 3, 2]  # 8 mm, then 14.4 of 20, then 3.5
    game.undo()
    game.undo()
    game.move("a bit", np.array([0.008, 0.0, 0.0]))
    assert [action.code for action in game.actions] == codes[:2]
    game.reset()
    game.move("a bit", np.array([0.008, 0.0, 0.0]))
    assert [action.code for action in game.actions] == codes[:1]


def test_the_gripper_stays_as_it_was_told(mapped):
    game = mapped()
    assert game.gripper == 1.0
    game.toggle_gripper()
    game.move("-z", np.array([0.0, 0.0, -0.04]))
    assert [action.robot_action[6] for action in game.actions] == [0.0, 0.0]
    game.toggle_gripper()
    assert [action.name for action in game.actions] == ["close", "-z", "open"]
    assert game.gripper == 1.0


def test_a_code_may_leave_the_gripper_half_open(mapped):
    game = mapped()
    game.action_map.mean = lambda codes: np.tile([0.0, 0, 0, 0, 0, 0, 0.4], (len(codes), 1))
    game.press_code(2)
    game.move("+x", np.array([0.04, 0.0, 0.0]))
    assert game.actions[-1].robot_action[6] == 0.4
    game.toggle_gripper()
    assert game.actions[-1].name == "open"


def test_robot_actions_steer_without_a_simulator_too(mapped, starts):
    game = mapped(replace(starts.episode(0), sim=None))
    game.move("-x", np.array([-0.04, 0.0, 0.0]))

    assert game.actions[0].code == 0
    assert game.now.truth is None


def test_another_prompt_is_a_new_game(mapped, starts):
    game = mapped()
    play(game, [1])
    game.begin(starts.scene(7))

    assert (game.actions, game.start.name) == ([], "scene 7")
    assert (game.now.truth.frame == game.start.frame).all()
    assert (play(game, [1, 2]) == play(mapped(starts.scene(7)), [1, 2])).all()


def test_a_frame_of_two_steps_moves_half_as_far_in_each():
    parts = split_action(np.array([0.08, 0, -0.2, 0, 0, 0.1, 0.7]), parts=2)

    assert parts == pytest.approx(np.tile([0.04, 0, -0.06, 0, 0, 0.05, 0.7], (2, 1)))
