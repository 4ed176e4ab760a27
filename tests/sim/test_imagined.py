import copy
from dataclasses import replace

import av
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo
from imagined_worlds import FEEDBACK, SAMPLER, to_codes, watched_world, world_of

from genie_robo.build import build_robot_genie
from genie_robo.data.settings import Resize
from genie_robo.data.transforms import resize_frame
from genie_robo.inference.rollout import imagine
from genie_robo.inference.trust import WatchedWorld
from genie_robo.inference.world import Codes, HeldFrame, Prompt
from genie_robo.sim.imagined import Imagined, ImaginedVector
from genie_robo.sim.tabletop import Tabletop
from tests.models.conftest import toy_config

FRAME = np.zeros((8, 8, 3), np.uint8)
STILL = np.array([0, 0, 0, 0, 0, 0, 1.0])


@pytest.mark.parametrize("codes", [None, to_codes])
def test_gymnasium_makes_it_and_accepts_it(genie, prompt, codes):
    env = gymnasium.make(
        "genie_robo.sim:Genie/Imagined-v0",
        world=world_of(genie, codes),
        prompt=prompt,
    )
    imagined = env.unwrapped
    assert isinstance(imagined, Imagined)
    assert imagined._world.genie is genie, "a copy would double the memory"
    check_env(imagined)  # raises or warns, and warnings are errors


def test_it_imagines_what_a_rollout_does(genie, prompt):
    env = Imagined(world_of(genie))
    frames = [env.reset(seed=5, options={"prompt": prompt})[0]["pixels"]]
    results = [env.step(action) for action in (2, 0, 1)]
    frames += [result[0]["pixels"] for result in results]
    seed = int(np.random.default_rng(5).integers(2**31))
    video = torch.from_numpy(prompt)[None, None]
    rollout = imagine(genie, video, torch.tensor([[2, 0, 1]]), seeds=[seed], sampler=SAMPLER)
    assert np.array_equal(frames, rollout.video[0].numpy())
    infos = [result[4] for result in results]
    assert np.array_equal([info["tokens"] for info in infos], rollout.tokens[0, 1:].numpy())
    assert [info["code"] for info in infos] == [2, 0, 1]
    assert {result[1] for result in results} == {0.0}


def test_info_tells_tokens_and_uncertainty(genie, prompt):
    env = Imagined(world_of(genie), prompt=prompt)
    info = env.reset(seed=0)[1]
    assert sorted(info) == ["is_success", "tokens", "uncertainty"]
    assert info["uncertainty"] == 0.0
    info = env.step(1)[4]
    assert info["tokens"].shape == (genie.dynamics.tokens_per_frame,)
    assert info["tokens"].dtype.kind == "i"
    # An untrained model is unsure of every token; equal odds are the least sure.
    assert 0 < info["uncertainty"] <= np.log(genie.tokenizer.num_codes)
    assert info["is_success"] is False


def test_info_tells_the_trust_of_a_watched_world(genie, prompt):
    world = watched_world(genie)
    own = copy.copy(world)
    own.start([Prompt(frames=prompt[None])], [int(np.random.default_rng(5).integers(2**31))])
    env = Imagined(world, prompt=prompt)
    assert "trust" not in env.reset(seed=5)[1]
    codes = (2, 4, 0, 2)
    found = [env.step(code)[4]["trust"] for code in codes]
    assert found == [own.step(Codes(np.array([code]))).trust[0] for code in codes]
    assert all(type(trust) is float and 0 <= trust <= 1 for trust in found)
    assert len(set(found)) > 1


def test_info_tells_no_trust_where_it_is_not_known(genie, prompt):
    for world in (world_of(genie), WatchedWorld(world_of(genie), {})):
        env = Imagined(world, prompt=prompt)
        env.reset(seed=0)
        assert "trust" not in env.step(1)[4]


def test_same_seed_same_frames(genie, prompt):
    env = Imagined(world_of(genie), prompt=prompt)
    rolls = []
    for seed in (1, 1, 2):
        env.reset(seed=seed)
        rolls.append([env.step(3)[0]["pixels"] for _ in range(2)])
    assert np.array_equal(rolls[0], rolls[1])
    assert not np.array_equal(rolls[0], rolls[2])


def test_a_prompt_may_have_any_size_and_several_frames_and_stays(genie, prompt):
    env = Imagined(world_of(genie))
    large = np.random.default_rng(1).integers(256, size=(50, 70, 3), dtype=np.uint8)
    first = env.reset(seed=0, options={"prompt": large})[0]["pixels"]
    small = resize_frame(large, image_size=prompt.shape[:2], resize=Resize.stretch)
    assert np.array_equal(first, env.reset(seed=0, options={"prompt": small})[0]["pixels"])
    assert np.array_equal(first, env.reset(seed=0)[0]["pixels"])
    frames = np.stack([small, prompt, prompt])
    env.reset(seed=0, options={"prompt": frames})
    video = env.step(2)[0]["pixels"]
    seed = int(np.random.default_rng(0).integers(2**31))
    prompts = torch.from_numpy(frames)[None]
    rollout = imagine(genie, prompts, torch.tensor([[2]]), seeds=[seed], sampler=SAMPLER)
    assert np.array_equal(video, rollout.video[0, -1].numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda prompt: None, "starts from an image, but there is none; give prompt=image"),
        (lambda prompt: prompt / 255, r"uint8 image .* it is float64 of shape \(16, 32, 3\)"),
        (lambda prompt: prompt[0], r"it is uint8 of shape \(32, 3\)"),
        (lambda prompt: prompt[..., :1], r"it is uint8 of shape \(16, 32, 1\)"),
        (lambda prompt: prompt[None][:0], r"it is uint8 of shape \(0, 16, 32, 3\)"),
        (lambda prompt: prompt[None, None], r"it is uint8 of shape \(1, 1, 16, 32, 3\)"),
    ],
)
def test_missing_and_misfit_prompts_are_refused(genie, prompt, change, message):
    with pytest.raises(ValueError, match=message):
        Imagined(genie).reset(options={"prompt": change(prompt)})


def test_step_needs_a_reset_and_a_known_action(genie, prompt):
    env = Imagined(genie, prompt=prompt)
    for early in (lambda: env.step(0), env.render):
        with pytest.raises(RuntimeError, match="call reset before step"):
            early()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="latent action 99 is not one of this model's codes, 0 to"):
        env.step(99)


def test_robot_actions_become_codes(genie, prompt):
    seen = []

    def remember(actions: np.ndarray) -> np.ndarray:
        seen.append(actions)
        return to_codes(actions)

    env = Imagined(world_of(genie, remember), prompt=prompt)
    by_code = Imagined(world_of(genie), prompt=prompt)
    assert env.action_space == Tabletop(image_size=(8, 8)).action_space
    env.reset(seed=3)
    by_code.reset(seed=3)
    action = STILL + [0.05, 0, 0, 0, 0, 0, 0]  # noqa: RUF005 (a sum, not a list)
    obs, _, _, _, info = env.step(action)
    assert np.array_equal(seen, [[action]])
    assert info["code"] == to_codes(action[None])[0] == 4
    assert np.array_equal(obs["pixels"], by_code.step(4)[0]["pixels"])


def test_another_kind_of_action_can_be_chosen(genie, prompt):
    """The same motion as robot action, as code and as latent; gymnasium accepts each space."""
    frames = {}
    code = np.array([[4]])
    latent = genie.latent_action.codes(torch.from_numpy(code))[0, 0].detach().numpy()
    given = {"robot": STILL + np.eye(7)[0] * 0.05, "codes": 4, "latents": latent}
    for actions, action in given.items():
        world = world_of(genie, to_codes)
        made = gymnasium.make(
            "genie_robo.sim:Genie/Imagined-v0", world=world, prompt=prompt, actions=actions
        )
        env = made.unwrapped
        check_env(env)
        env.reset(seed=3)
        frames[actions] = env.step(action)[0]["pixels"]
    assert np.array_equal(frames["robot"], frames["codes"])
    assert np.array_equal(frames["robot"], frames["latents"])
    width = genie.latent_action.code_dim
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (width,), np.float32)
    with pytest.raises(ValueError, match="finite numbers; got"):
        env.step(np.full(width, np.nan))


def test_a_kind_of_action_that_the_world_does_not_take_is_refused(genie):
    with pytest.raises(ValueError, match=r"not steered by actions=robot; it takes latents, codes"):
        Imagined(world_of(genie), actions="robot")
    with pytest.raises(ValueError, match="actions='joints' is not known; choose one of robot"):
        Imagined(world_of(genie), actions="joints")


def test_the_residual_is_carried_along_the_episode(genie, prompt):
    env = Imagined(world_of(genie, FEEDBACK), prompt=prompt)
    action = STILL + [0.007, 0, 0, 0, 0, 0, 0]  # noqa: RUF005 (a sum, not a list)
    assert to_codes(action[None])[0] == 2
    for _ in range(2):
        env.reset(seed=3)
        codes = [env.step(action)[-1]["code"] for _ in range(8)]
        assert codes == FEEDBACK.encode_sequence(np.tile(action, (8, 1))).tolist()
        assert 3 in codes


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, np.nan, "7 finite numbers, dx dy dz droll dpitch dyaw gripper"),
        (1, 0.3, r"action dy=0.3 is outside \[-0.06, 0.06\]; clip"),
    ],
)
def test_bad_robot_actions_are_refused_as_on_the_tabletop(genie, prompt, index, value, message):
    action = STILL.copy()
    action[index] = value
    imagined = Imagined(world_of(genie, to_codes), prompt=prompt)
    for env in (imagined, Tabletop(image_size=(8, 8))):
        env.reset(seed=0)
        with pytest.raises(ValueError, match=message):
            env.step(action)


@pytest.mark.parametrize("codes", [np.array([5]), np.array([0, 1]), np.array([False])])
def test_codes_that_the_model_does_not_know_are_refused(genie, prompt, codes):
    env = Imagined(world_of(genie, lambda actions: codes), prompt=prompt)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="robot_map must give 1 codes from 0 to 4, one per action"):
        env.step(STILL)


@pytest.mark.parametrize("name", ["Tabletop-v0", "Imagined-v0"])
@pytest.mark.parametrize(("limit", "end"), [({}, 40), ({"max_episode_steps": 43}, 43)])
def test_the_time_limit_is_that_of_gymnasium(name, limit, end):
    still = {"Tabletop-v0": {}, "Imagined-v0": {"world": HeldFrame(), "prompt": FRAME}}
    env = gymnasium.make(f"genie_robo.sim:Genie/{name}", image_size=(8, 8), **still[name], **limit)
    env.reset(seed=0)
    assert [env.step(STILL)[3] for _ in range(end)] == [False] * (end - 1) + [True]
    env.close()


def test_videos_have_the_rate_of_the_prompt_else_of_the_world_else_3_hz(genie, episodes):
    recording = replace(episodes[0], control_hz=10.0)
    recorded = Prompt(frames=FRAME[None], recording=recording, stride=2)
    trained = HeldFrame()
    trained.frames_per_second = 7.5
    image = {"prompt": FRAME, "image_size": (8, 8)}
    worlds = [(HeldFrame(), 3.0), (trained, 7.5), (world_of(genie), 3.0)]
    for world, rate in worlds:  # an untrained model knows no rate
        assert Imagined(world, **image).metadata["render_fps"] == rate
        assert ImaginedVector(world, num_envs=2, **image).metadata["render_fps"] == rate
    vector = ImaginedVector(trained, num_envs=2, prompt=[recorded, recorded], image_size=(8, 8))
    assert vector.metadata["render_fps"] == 5.0
    env = Imagined(trained, **image)
    env.reset(options={"prompt": recorded})
    assert env.metadata["render_fps"] == 5.0


@pytest.mark.filterwarnings("ignore")  # of MoviePy, and of Gymnasium about human mode
@pytest.mark.parametrize("name", ["Tabletop-v0", "Imagined-v0"])
def test_gymnasium_records_videos_and_opens_windows(name, tmp_path, monkeypatch):
    pytest.importorskip("moviepy")
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    made = {
        "Tabletop-v0": {"control_hz": 5.0, "image_size": (32, 32)},
        "Imagined-v0": {"world": HeldFrame(), "prompt": np.zeros((64, 64, 3), np.uint8)},
    }
    settings = {"id": f"genie_robo.sim:Genie/{name}", "max_episode_steps": 2, **made[name]}
    recorded = RecordVideo(gymnasium.make(**settings), str(tmp_path))
    for env in (recorded, gymnasium.make(render_mode="human", **settings)):
        env.reset(seed=0)
        assert [env.step(STILL)[3] for _ in range(2)] == [False, True]
        env.close()
    with av.open(tmp_path / "rl-video-episode-0.mp4") as video:
        (stream,) = video.streams.video
        assert stream.average_rate == recorded.metadata["render_fps"]
        assert stream.frames in (3, 4), "MoviePy 1 may repeat the last of three frames"


def collect(env: gymnasium.Env, *, num_steps: int) -> tuple[list[dict], list[float], list[bool]]:
    """What a learner's collector does: it knows nothing but Gymnasium's interface."""
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    observations, rewards, ends = [obs], [], []
    for _ in range(num_steps):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs)
        assert {"is_success"} <= info.keys()
        ends.append(terminated or truncated)
        if ends[-1]:
            obs, _ = env.reset()
        observations.append(obs)
        rewards.append(float(reward))
    return observations, rewards, ends


@pytest.mark.parametrize("name", ["Tabletop-v0", "Imagined-v0"])
def test_one_collector_runs_on_both_environments(genie, prompt, name):
    size = prompt.shape[:2]
    options = {
        "Tabletop-v0": {"task": "reach", "image_size": size},
        "Imagined-v0": {"world": world_of(genie, to_codes), "prompt": prompt},
    }
    env = gymnasium.make(f"genie_robo.sim:Genie/{name}", max_episode_steps=4, **options[name])
    observations, rewards, ends = collect(env, num_steps=9)
    assert ends == [False, False, False, True] * 2 + [False]
    assert {obs["pixels"].shape for obs in observations} == {(*size, 3)}
    assert len(rewards) == 9
    again, *_ = collect(env, num_steps=9)
    pairs = zip(observations, again, strict=True)
    assert all(np.array_equal(one["pixels"], other["pixels"]) for one, other in pairs)
    env.close()


def test_memory_does_not_grow_with_the_steps(genie, prompt, count_tensors):
    env = Imagined(world_of(genie), prompt=prompt)
    env.reset(seed=0)
    counts = []
    for _ in range(2):
        for _ in range(8):
            env.step(1)
        counts.append(count_tensors())
    assert counts[0] == counts[1]


def test_a_frame_is_resized_as_the_data_was(genie, prompt):
    large = np.random.default_rng(1).integers(256, size=(50, 70, 3), dtype=np.uint8)
    for resize in ("stretch", "crop", "letterbox"):
        shown = Imagined(genie, prompt=large, resize=resize).reset(seed=0)[0]["pixels"]
        small = resize_frame(large, image_size=prompt.shape[:2], resize=Resize(resize))
        assert np.array_equal(shown, Imagined(genie, prompt=small).reset(seed=0)[0]["pixels"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"genie": 1, "to_codes": 2}, "genie=, to_codes= became world=: give world=genie, or with"),
        ({"sampler": 1}, r"sampler= became world=.*GenieWorld\(genie, sampler=sampler"),
        ({}, "takes world=, a Genie or a World"),
        ({"worlds": 1}, r"takes world=.*\['worlds'\]"),
        (
            {"world": HeldFrame(), "max_steps": 9},
            r"max_steps= is now max_episode_steps= of gymnasium.make",
        ),
    ],
)
def test_former_arguments_are_refused_with_what_replaced_them(words, message):
    for make in (Imagined, lambda **words: ImaginedVector(num_envs=2, **words)):
        with pytest.raises(TypeError, match=message):
            make(**words)


@pytest.mark.parametrize("names", [(), ("shoulder", "elbow")])
def test_a_world_of_joints_takes_them_after_the_seven(genie, prompt, names):
    steered = build_robot_genie(toy_config(), genie, robot_dim=9)
    steered.joint_names = names
    joints = np.array([[-1.0, 0.0], [2.0, 0.5]])
    bounds = np.concatenate([np.zeros((2, 7)), joints], axis=1)
    steered.dynamics.robot.set_arrays({"action_range": bounds})
    env = Imagined(steered, prompt=prompt)
    assert env.action_space.shape == (9,)
    np.testing.assert_array_equal(env.action_space.low[7:], joints[0])
    np.testing.assert_array_equal(env.action_space.high[7:], joints[1])
    env.reset(seed=0)
    env.step(env.action_space.sample())
    for action in (np.zeros(7), np.full(9, np.nan)):
        last = " ".join(names or ("joint0", "joint1"))
        with pytest.raises(ValueError, match=rf"an action is 9 finite numbers, dx .* {last}, but"):
            env.step(action)
    with pytest.raises(ValueError, match="action dx=1 is outside"):
        env.step(np.eye(9)[0])
