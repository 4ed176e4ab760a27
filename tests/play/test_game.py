from dataclasses import replace

import numpy as np
import pytest

from genie_robo.inference.rollout import Imagination
from genie_robo.sim.restore import execute, restore


def frames(game):
    return np.stack([moment.frame for moment in game.moments])


def codes_of(game):
    return [moment.code for moment in game.moments[1:]]


def state_of(game):
    return game._mujoco.envs[0].state()


def play(game, codes):
    for code in codes:
        game.act(game.code_action(code))
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


def count_steps(game, monkeypatch):
    """A list that gets an entry for every step of the world."""
    steps, step = [], game.world.step
    monkeypatch.setattr(game.world, "step", lambda actions: steps.append(actions) or step(actions))
    return steps


def test_after_undo_the_next_action_takes_one_step(mapped, monkeypatch):
    game, straight = mapped(), mapped()
    play(game, [1, 2, 3, 4])
    play(straight, [1, 2])
    steps = count_steps(game, monkeypatch)
    for codes in ([0, 1], [4, 2]):
        game.undo()
        game.undo()
        steps.clear()
        play(game, codes)
        assert len(steps) == 2
        play(straight, codes)
        assert (frames(game)[-2:] == frames(straight)[-2:]).all()
        assert (state_of(game) == state_of(straight)).all()
        straight.undo()
        straight.undo()


@pytest.mark.parametrize(("num_undone", "num_steps"), [(1, 1), (2, 3), (4, 1)])
def test_before_the_states_that_are_kept_steps_are_repeated(
    make, monkeypatch, num_undone, num_steps
):
    monkeypatch.setattr("genie_robo.play.game.UNDO_BYTES", 0)
    game, straight = make(), make()
    before = play(game, [1, 2, 3, 4])
    assert list(game._states) == [3, 4]
    steps = count_steps(game, monkeypatch)
    for _ in range(num_undone):
        game.undo()
    game.act(game.code_action(0))
    assert len(steps) == num_steps
    kept = [1, 2, 3, 4][: 4 - num_undone]
    assert (play(straight, [*kept, 0]) == frames(game)).all()
    assert (frames(game)[:-1] == before[: 5 - num_undone]).all()


def test_memory_of_states_is_bounded(make, monkeypatch):
    game = make()
    size = game._states[0][0].num_bytes
    assert size > 1000
    monkeypatch.setattr("genie_robo.play.game.UNDO_BYTES", 3 * size)
    play(game, [1, 2, 3, 4, 0])
    assert list(game._states) == [3, 4, 5]


def test_a_frame_ahead_is_shown_or_dropped(mapped):
    game, straight = mapped(), mapped()
    play(game, [1])
    game.look_ahead(game.code_action(4))
    assert len(game.actions) == 1
    game.look_ahead(game.code_action(3))
    game.show_next()
    game.show_next()
    play(straight, [1, 3])
    assert (frames(game) == frames(straight)).all()
    assert (state_of(game) == state_of(straight)).all()
    game.look_ahead(game.code_action(4))
    game.undo()
    game.show_next()
    assert (play(game, [2]) == play(mapped(), [1, 2])).all()


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
            game.act(game.code_action(2))

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
    with pytest.raises(
        ValueError, match=rf"latent action {code} is not one of this model's codes, 0 to 4"
    ):
        make().code_action(code)


def test_without_an_action_map_no_robot_and_no_truth(make):
    game = make()
    game.act(game.code_action(0))

    assert game.now.true_frame is None
    assert game.actions[0].robot_action is None
    with pytest.raises(ValueError, match="the run has no action map"):
        game.act(game.move_action("+x", np.array([0.04, 0.0, 0.0])))


def test_mujoco_executes_the_mean_robot_action_of_a_code(mapped):
    game = mapped()
    play(game, [4, 3])

    env = restore(game.prompt.recording, 0, image_size=(64, 64))
    actions = [np.array([dx, 0, 0, 0, 0, 0, 1.0]) for dx in (0.04, 0.02)]
    true = execute(env, actions, lambda env: env.render())
    assert (np.stack([moment.true_frame for moment in game.moments]) == np.stack(true)).all()


def test_mujoco_takes_back_what_the_model_takes_back(mapped):
    game, straight = mapped(), mapped()
    play(game, [4, 0])
    game.undo()
    game.act(game.code_action(3))
    play(straight, [4, 3])

    assert (game.now.true_frame == straight.now.true_frame).all()
    assert (state_of(game) == state_of(straight)).all()
    game.undo()
    game.act(game.code_action(1))
    straight.reset()
    play(straight, [4, 1])
    assert (state_of(game) == state_of(straight)).all()


def test_a_robot_action_steers_both(mapped):
    game = mapped()
    game.act(game.move_action("+x", np.array([0.04, 0.0, 0.0])))
    by_code = mapped()
    by_code.act(by_code.code_action(4))

    action = game.actions[0]
    assert (action.name, game.now.code) == ("+x", 4)
    assert (action.robot_action == [0.04, 0, 0, 0, 0, 0, 1]).all()
    assert (game.now.frame == by_code.now.frame).all()
    assert (game.now.true_frame == by_code.now.true_frame).all()
    assert (game.now.true_frame != game.moments[0].true_frame).any()


def test_the_residual_of_a_motion_is_carried_to_the_next(mapped):
    game = mapped()
    for _ in range(3):
        game.act(game.move_action("a bit", np.array([0.008, 0.0, 0.0])))
    codes = codes_of(game)
    assert codes == [2, 3, 2]  # 8 mm, then 14.4 of 20, then 3.5
    game.undo()
    game.undo()
    game.act(game.move_action("a bit", np.array([0.008, 0.0, 0.0])))
    assert codes_of(game) == codes[:2]
    game.reset()
    game.act(game.move_action("a bit", np.array([0.008, 0.0, 0.0])))
    assert codes_of(game) == codes[:1]


def test_the_gripper_stays_as_it_was_told(mapped):
    game = mapped()
    assert game.gripper == 1.0
    game.act(game.gripper_action())
    game.act(game.move_action("-z", np.array([0.0, 0.0, -0.04])))
    assert [action.robot_action[6] for action in game.actions] == [0.0, 0.0]
    game.act(game.gripper_action())
    assert [action.name for action in game.actions] == ["close", "-z", "open"]
    assert game.gripper == 1.0


def test_a_code_holds_the_gripper_whatever_its_mean(mapped):
    game = mapped()
    game.meanings.mean = lambda codes: np.tile([0.02, 0, 0, 0, 0, 0, 0.4], (len(codes), 1))
    game.act(game.code_action(2))
    game.act(game.gripper_action())
    game.act(game.code_action(2))
    assert [action.robot_action[6] for action in game.actions] == [1.0, 0.0, 0.0]
    assert [action.robot_action[0] for action in game.actions] == [0.02, 0.0, 0.02]
    assert game._mujoco.envs[0].pose[6] < 0.1
    game.undo()
    game.undo()
    assert game.gripper == 1.0


def test_robot_actions_steer_without_a_simulator_too(mapped, prompts):
    game = mapped(replace(prompts.episode(0).prompt, recording=None))
    game.act(game.move_action("-x", np.array([-0.04, 0.0, 0.0])))

    assert game.now.code == 0
    assert game.now.true_frame is None


def test_another_prompt_is_a_new_game(mapped, prompts):
    game, scene = mapped(), prompts.scene(7).prompt
    play(game, [1])
    game.start(scene)

    assert (game.actions, game.prompt.title) == ([], "scene 7")
    assert (game.now.true_frame == scene.frames[0]).all()
    assert (play(game, [1, 2]) == play(mapped(prompts.scene(7).prompt), [1, 2])).all()


def test_a_prompt_that_fails_leaves_the_game_as_it_was(mapped, prompts):
    game, straight = mapped(), mapped()
    play(game, [1])
    prompt = prompts.episode(0).prompt
    with pytest.raises(ValueError, match="resize the prompt"):
        game.start(replace(prompt, frames=prompt.frames[:, :8]))
    assert (play(game, [3]) == play(straight, [1, 3])).all()
    assert (game.now.true_frame == straight.now.true_frame).all()


def test_a_frame_of_two_steps_moves_half_as_far_in_each(mapped, prompts):
    game = mapped(replace(prompts.episode(0).prompt, stride=2))
    game.act(game.move_action("far", np.array([0.08, 0.0, -0.2])))
    env = restore(game.prompt.recording, 0, image_size=(64, 64))
    parts = np.tile([0.04, 0, -0.06, 0, 0, 0, 1.0], (2, 1))  # clipped to the bounds of MuJoCo
    _, true = execute(env, parts, lambda env: env.render(), stride=2)
    assert (game.now.true_frame == true).all()
