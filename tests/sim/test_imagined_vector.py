import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from imagined_worlds import FEEDBACK, to_codes, watched_world, world_of

from genie_robo.inference.world import HeldFrame
from genie_robo.sim.imagined import Imagined, ImaginedVector

ACTIONS = np.random.default_rng(0).integers(5, size=(9, 3))


def both(genie, prompt, mode, **kwargs):
    """The vector environment, and Gymnasium's own around single ones."""
    single = {"prompt": prompt, **kwargs}
    vector = ImaginedVector(
        world_of(genie), num_envs=3, autoreset_mode=mode, max_episode_steps=3, **single
    )
    one = [lambda: TimeLimit(Imagined(world_of(genie), **single), 3)]
    reference = SyncVectorEnv(one * 3, autoreset_mode=mode)
    return vector, reference


def assert_same(one, other):
    """Of nested dicts, tuples and arrays."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple) or (isinstance(one, np.ndarray) and one.dtype == object):
        for item, expected in zip(one, other, strict=True):
            assert_same(item, expected)
    elif isinstance(one, np.ndarray) and one.dtype.kind == "f":
        assert np.allclose(one, other, rtol=1e-5, atol=1e-6)
    else:
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("mode", "ends"), [("NextStep", [2, 6]), ("SameStep", [2, 5, 8])])
def test_worlds_are_what_single_environments_are(genie, prompt, mode, ends):
    vector, reference = both(genie, prompt, mode)
    assert vector.action_space == reference.action_space
    assert vector.observation_space == reference.observation_space
    assert_same(vector.reset(seed=7), reference.reset(seed=7))
    for step, actions in enumerate(ACTIONS):
        result = vector.step(actions)
        assert_same(result, reference.step(actions))
        assert result[3].tolist() == [step in ends] * 3
    assert_same(vector.render(), reference.render())


def test_each_world_has_its_own_trust(genie, prompt):
    world = watched_world(genie)
    vector = ImaginedVector(world, num_envs=3, prompt=prompt)
    reference = SyncVectorEnv([lambda: Imagined(copy.copy(world), prompt=prompt)] * 3)
    for env in (vector, reference):
        assert "trust" not in env.reset(seed=7)[1]
    for actions in ACTIONS[:3]:
        trust, expected = (env.step(actions)[4]["trust"] for env in (vector, reference))
        np.testing.assert_allclose(trust, expected)
    assert len(set(trust)) > 1


def test_some_worlds_restart_while_others_go_on(genie, prompt):
    vector, reference = both(genie, prompt, "NextStep")
    mask = np.array([False, True, False])
    for env in (vector, reference):
        env.reset(seed=[1, 2, None])
    # The third world drew its own seed.
    vector._generators[2] = np.random.default_rng(4)
    for env in (vector, reference):
        env.reset(seed=[1, 2, 4])
    for step, actions in enumerate(ACTIONS):
        if step in (1, 6):
            results = [
                env.reset(seed=[0, 9, 0], options={"reset_mask": mask.copy()})
                for env in (vector, reference)
            ]
            assert_same(*results)
        assert_same(vector.step(actions), reference.step(actions))
    assert len(vector._groups) == 2


def test_robot_actions_and_a_prompt_per_world(genie, prompt):
    prompts = np.stack([[prompt], [prompt[::-1]], [prompt[:, ::-1]]])
    vector = ImaginedVector(world_of(genie, to_codes), num_envs=3, prompt=prompts)
    frames = [vector.reset(seed=0)[0]["pixels"]]
    actions = vector.action_space.sample()
    frames.append(vector.step(actions)[0]["pixels"])
    for world in range(3):
        env = Imagined(world_of(genie, to_codes), prompt=prompts[world])
        assert np.array_equal(env.reset(seed=world)[0]["pixels"], frames[0][world])
        assert np.array_equal(env.step(actions[world])[0]["pixels"], frames[1][world])


def test_every_environment_carries_its_own_residual(genie, prompt):
    """Environments of different age, each as one alone; an episode starts without a residual."""
    vector = ImaginedVector(
        world_of(genie, FEEDBACK), num_envs=2, prompt=prompt, max_episode_steps=5
    )
    vector.reset(seed=0)
    actions = np.zeros((2, 7))
    actions[:, 0], actions[:, 6] = [0.007, -0.006], 1.0
    codes = []
    for step in range(9):
        if step == 3:
            vector.reset(seed=0, options={"reset_mask": np.array([False, True])})
        info = vector.step(actions)[-1]
        codes.append(np.where(info.get("_code", False), info.get("code", -1), -1))
    along = [FEEDBACK.encode_sequence(np.tile(action, (9, 1))).tolist() for action in actions]
    first, second = np.stack(codes).T.tolist()
    assert first == [*along[0][:5], -1, *along[0][:3]]  # -1 is where an episode begins
    assert second == [*along[1][:3], *along[1][:5], -1]
    assert len({*first, *second}) == 4


def test_gymnasium_makes_it(genie, prompt):
    env = gymnasium.make_vec(
        "genie_robo.sim:Genie/Imagined-v0",
        num_envs=4,
        vectorization_mode="vector_entry_point",
        world=world_of(genie),
        prompt=prompt,
        max_episode_steps=2,
    )
    assert isinstance(env.unwrapped, ImaginedVector)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env = RecordEpisodeStatistics(env)
    obs, _ = env.reset(seed=0)
    assert env.unwrapped._groups[0].world.genie is genie, "a copy would double the memory"
    assert env.observation_space.contains(obs)
    infos = [env.step(env.action_space.sample())[4] for _ in range(3)]
    assert infos[1]["episode"]["l"].tolist() == [2, 2, 2, 2]
    assert infos[0]["tokens"].shape == (4, genie.dynamics.tokens_per_frame)
    assert "code" in infos[1]
    assert "code" not in infos[2], "the third step began new episodes and took no action"
    env.close()


def test_without_autoreset_an_ended_world_must_be_reset(genie, prompt):
    env = ImaginedVector(
        world_of(genie), num_envs=2, prompt=prompt, max_episode_steps=1, autoreset_mode="Disabled"
    )
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(np.zeros(2, np.int64))
    env.reset(seed=0)
    env.step(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match=r"worlds \[0, 1\] have ended and autoreset is disabled"):
        env.step(np.zeros(2, np.int64))
    env.reset(options={"reset_mask": np.array([True, True])})
    assert env.step(np.zeros(2, np.int64))[3].all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": [1, 2]}, "got 2 seeds for 3 worlds"),
        ({"options": {"reset_mask": np.zeros(3, bool)}}, "must be 3 booleans, one of them true"),
        ({"options": {"reset_mask": np.ones(3)}}, "must be 3 booleans"),
        ({"options": {"prompt": np.zeros((2, 1, 16, 32, 3), np.uint8)}}, "got 2 prompts for 3"),
        ({"options": {"prompt": np.zeros((3, 1, 16, 32, 3))}}, "it is float64 of shape"),
        ({"options": {"prompt": None}}, "there is none; give prompt=image"),
    ],
)
def test_misfit_resets_are_refused(genie, prompt, wrong, message):
    env = ImaginedVector(genie, num_envs=3, prompt=prompt)
    with pytest.raises(ValueError, match=message):
        env.reset(**wrong)


def test_misfit_actions_are_refused(genie, prompt):
    env = ImaginedVector(world_of(genie), num_envs=3, prompt=prompt)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="got 2 actions for 3 worlds"):
        env.step(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="latent action 7 is not one of this model's codes"):
        env.step(np.array([0, 7, 0]))


def test_memory_does_not_grow_with_steps_and_resets(genie, prompt, count_tensors):
    env = ImaginedVector(world_of(genie), num_envs=3, prompt=prompt, max_episode_steps=3)
    env.reset(seed=0)
    counts = []
    for _ in range(2):
        for _ in range(8):
            env.step(np.zeros(3, np.int64))
        counts.append(count_tensors())
    assert counts[0] == counts[1]


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
@pytest.mark.parametrize(
    ("limit", "end"), [({}, 40), ({"max_episode_steps": 43}, 43), ({"max_episode_steps": -1}, 99)]
)
def test_the_time_limit_is_that_of_gymnasium(mode, limit, end):
    env = gymnasium.make_vec(
        "genie_robo.sim:Genie/Imagined-v0",
        num_envs=2,
        vectorization_mode=mode,
        world=HeldFrame(),
        prompt=np.zeros((8, 8, 3), np.uint8),
        image_size=(8, 8),
        **limit,
    )
    env.reset(seed=0)
    still = np.zeros((2, 7), np.float32)
    truncated = [env.step(still)[3].tolist() for _ in range(50)]
    assert truncated == [[step == end - 1] * 2 for step in range(50)]
    env.close()
