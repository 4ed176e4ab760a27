import copy

import numpy as np
import pytest
import torch
from eval_fakes import ToyEpisodes, ToyRobot, make_context
from small_genie import CPU, build_small_genie
from torch import nn

from genie_robo.data.windows import overlapping_chunks
from genie_robo.eval_suites.adapters import GenieEncoder, GenieTokenizer
from genie_robo.eval_suites.base import FrameTokenizer, LatentActionEncoder, SequenceEncoder
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.tokenizer import TokenizerSuite
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import (
    Codes,
    GenieWorld,
    HeldFrame,
    Latents,
    Prompt,
    RobotActions,
    World,
    code_steps,
    latent_steps,
    robot_steps,
    roll_out,
)
from genie_robo.models.settings import Space
from genie_robo.types import video_to_bytes, video_to_float


def frames_of(chunks):
    return chunks[..., 0, 0, 0].tolist()


def numbered(num_frames):
    video = np.zeros((num_frames, 2, 2, 3), np.uint8)
    video[:] = np.arange(num_frames)[:, None, None, None]
    return video


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (2, [[0, 1, 1, 1]]),
        (4, [[0, 1, 2, 3]]),
        (5, [[0, 1, 2, 3], [3, 4, 4, 4]]),
        (7, [[0, 1, 2, 3], [3, 4, 5, 6]]),
        (9, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 8]]),
    ],
)
def test_chunks_share_one_frame(num_frames, expected):
    assert frames_of(overlapping_chunks(numbered(num_frames), num_frames=4)) == expected


@pytest.fixture(scope="module")
def genie():
    return build_small_genie()


class Numbering:
    """A latent action model whose code is the number on the frame before the transition."""

    num_codes = 99

    def encode(self, video):
        number = (video[:, :-1, 0, 0, 0] * 255).round().long()
        return type("Encoded", (), {"indices": number, "continuous": number[..., None].float()})


def test_every_transition_is_encoded_once_and_in_place():
    class Fake:
        num_frames = 4
        latent_action = Numbering()

        def eval(self):
            return self

        def infer_actions(self, video):
            return self.latent_action.encode(video)

    window = ToyEpisodes(ToyRobot(1, num_frames=9), [0]).whole_episode(0)
    encoder = GenieEncoder.__new__(GenieEncoder)
    object.__setattr__(encoder, "genie", Fake())
    object.__setattr__(encoder, "device", CPU)
    object.__setattr__(window, "video", numbered(9))
    encoded = encoder.encode(window)
    assert encoded.codes.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert encoded.latents[:, 0].tolist() == encoded.codes.tolist()


def test_padding_of_the_last_chunk_changes_no_code(genie):
    encoder = GenieEncoder(genie=genie, device=CPU)
    robot = ToyRobot(1, num_frames=7)
    whole = encoder.encode(ToyEpisodes(robot, [0]).whole_episode(0))
    robot.num_frames, robot.poses[0], robot.actions[0] = 6, robot.poses[0][:6], robot.actions[0][:5]
    cut = encoder.encode(ToyEpisodes(robot, [0]).whole_episode(0))
    assert cut.codes.tolist() == whole.codes[:5].tolist()
    np.testing.assert_allclose(cut.latents, whole.latents[:5], atol=1e-5)


def test_sequence_codes_carry_the_residual_of_each_code_to_the_next(genie):
    encoder = GenieEncoder(genie=genie, device=CPU)
    window = ToyEpisodes(ToyRobot(1, num_frames=17), [0]).whole_episode(0)
    motions = encoder.encode(window).latents
    book = genie.latent_action.codes(torch.arange(encoder.num_codes)).detach().numpy()
    for start in (0, 5):
        expected, residual = [], np.zeros(motions.shape[1])
        for motion in motions[start:]:
            code = np.square(book - motion - residual).sum(axis=1).argmin()
            residual = 0.8 * (motion + residual - book[code])
            expected.append(code)
        assert encoder.encode_sequence(window, start).tolist() == expected
    assert encoder.encode_sequence(window, 0).tolist() != encoder.encode(window).codes.tolist()


def test_latents_are_what_is_decoded_and_clustered(genie):
    """Bounded by the space of the codes, so that codes are the nearest of the codebook to them."""
    encoder = GenieEncoder(genie=copy.deepcopy(genie), device=CPU)
    latent_action = encoder.genie.latent_action
    nn.init.constant_(latent_action.to_code.bias, 2.0)
    window = ToyEpisodes(ToyRobot(1, num_frames=17), [0]).whole_episode(0)
    encoded = encoder.encode(window)
    assert np.abs(encoded.latents).max() < 1
    assert np.abs(encoded.latents).max() > 0.8
    book = latent_action.codes(torch.arange(encoder.num_codes)).detach().numpy()
    distances = np.linalg.norm(encoded.latents[:, None] - book, axis=-1)
    assert distances.argmin(axis=1).tolist() == encoded.codes.tolist()


def test_codes_on_a_sphere_carry_no_residual(genie, monkeypatch):
    encoder = GenieEncoder(genie=genie, device=CPU)
    window = ToyEpisodes(ToyRobot(1, num_frames=17), [0]).whole_episode(0)
    monkeypatch.setattr(genie.latent_action.quantizer, "space", Space.sphere)
    assert encoder.encode_sequence(window, 5).tolist() == encoder.encode(window).codes[5:].tolist()


def prompt_of(video, name="a", start=0):
    return Prompt(frames=video, name=name, start=start)


def codes_of(world, robot_actions):
    """The latent actions that robot actions were mapped to, for each rollout."""
    world.start(
        [prompt_of(ToyRobot(1).video(0)[:1])] * len(robot_actions), [0] * len(robot_actions)
    )
    return np.stack([world.step(actions).codes for actions in robot_steps(robot_actions)], axis=1)


def test_robot_actions_are_mapped_rollout_by_rollout(genie):
    robot_actions = np.zeros((2, 3, 7))
    robot_actions[..., 0] = [[0, 1, 2], [1, 2, 3]]
    world = GenieWorld(genie, robot_map=lambda: lambda actions: actions[:, 0].astype(int))
    assert codes_of(world, robot_actions).tolist() == [[0, 1, 2], [1, 2, 3]]
    with pytest.raises(ValueError, match=r"must give 2 codes from 0 to 7, one per action"):
        codes_of(world, robot_actions + 6)


def test_error_feedback_carries_the_residual_of_each_rollout_alone(genie):
    rng = np.random.default_rng(0)
    feedback = ErrorFeedback.to_nearest(rng.normal(size=(8, 7)))
    robot_actions = rng.normal(size=(2, 3, 7))
    found = codes_of(GenieWorld(genie, robot_map=lambda: feedback), robot_actions)
    assert found.tolist() == [
        feedback.encode_sequence(actions).tolist() for actions in robot_actions
    ]


def test_a_latent_that_equals_a_code_leads_to_the_same_frame(genie):
    prompts, codes = [prompt_of(ToyRobot(1).video(0)[:1])] * 2, np.array([[0, 3, 5], [6, 1, 1]])
    latents = genie.latent_action.codes(torch.from_numpy(codes)).detach().double().numpy()
    world = GenieWorld(genie, robot_map=lambda: lambda actions: actions)
    by_codes, by_latents, by_robot = (
        roll_out(world, prompts, steps, seeds=[1, 2])
        for steps in (code_steps(codes), latent_steps(latents), robot_steps(latents))
    )
    assert np.array_equal(by_codes, by_latents)
    assert np.array_equal(by_codes, by_robot)
    world.start(prompts, [1, 2])
    assert [world.step(step).codes.tolist() for step in latent_steps(latents)] == codes.T.tolist()


@pytest.mark.parametrize("latents", [np.zeros((2, 3)), np.zeros((1, 4)), np.full((2, 4), np.nan)])
def test_numbers_that_are_no_latents_are_refused(genie, latents):
    prompts = [prompt_of(ToyRobot(1).video(0)[:1])] * 2
    mapped = GenieWorld(genie, robot_map=lambda: lambda _: latents)
    for world, actions in ((GenieWorld(genie), Latents(latents)), (mapped, RobotActions(latents))):
        world.start(prompts, [0, 0])
        with pytest.raises(ValueError, match="has 4 finite numbers, for each of 2 rollouts"):
            world.step(actions)


def test_a_model_of_codes_alone_takes_no_latents(genie):
    alone = copy.copy(genie)
    alone.takes_latents = False
    world = GenieWorld(alone)
    assert world.takes == (Codes,)
    world.start([prompt_of(ToyRobot(1).video(0)[:1])], [0])
    with pytest.raises(ValueError, match=r"latents_share=0.*give codes 0\.\.7"):
        world.step(Latents(np.zeros((1, 4))))


def test_robot_actions_without_a_map_are_refused(genie):
    world = GenieWorld(genie)
    assert world.takes == (Codes, Latents)
    with pytest.raises(ValueError, match="nothing maps robot actions"):
        codes_of(world, np.zeros((1, 1, 7)))


def test_adapters_satisfy_the_protocols(genie):
    assert isinstance(GenieEncoder(genie=genie, device=CPU), LatentActionEncoder)
    assert isinstance(GenieEncoder(genie=genie, device=CPU), SequenceEncoder)
    assert isinstance(GenieTokenizer(genie=genie, device=CPU), FrameTokenizer)
    assert isinstance(GenieWorld(genie), World)
    assert isinstance(HeldFrame(), World)


def test_tokenizer_keeps_order_and_length(genie):
    video = ToyRobot(1, num_frames=6).video(0)
    made = GenieTokenizer(genie=genie, device=CPU).reconstruct(video)
    assert made.video.shape == video.shape
    assert made.tokens.shape == (6, 4)
    first = video_to_float(torch.from_numpy(video[None, :4]))
    tokens = genie.tokenizer.encode(first)
    np.testing.assert_array_equal(made.tokens[:4], tokens[0])
    np.testing.assert_array_equal(made.video[0], video[0])  # given, as in a rollout
    painted = video_to_bytes(genie.tokenizer.paint(tokens))[0].numpy()
    for t in range(1, 4):
        stays = (made.tokens[t] == made.tokens[t - 1]).reshape(2, 2)
        stays = stays.repeat(16, axis=0).repeat(16, axis=1)[..., None]
        expected = np.where(stays, made.video[t - 1], painted[t])
        np.testing.assert_array_equal(made.video[t], expected)


def test_world_gives_the_frames_after_the_prompt(genie):
    world = GenieWorld(genie, sampler=Sampler(num_steps=2))
    video = ToyRobot(1).video(0)
    prompts = [prompt_of(video[:1]), prompt_of(video[3:4], "b", 3)]
    actions = np.array([[0, 1, 2], [3, 4, 5]])
    both = roll_out(world, prompts, code_steps(actions), seeds=[5, 6])
    alone = roll_out(world, prompts[1:], code_steps(actions[1:]), seeds=[6])
    assert both.shape == (2, 3, 32, 32, 3)
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1


def test_suites_run_on_a_real_genie(genie):
    context = make_context(
        ToyRobot(6, num_frames=9),
        encoder=GenieEncoder(genie=genie, device=CPU),
        untrained_encoder=GenieEncoder(genie=genie, device=CPU),
        tokenizer=GenieTokenizer(genie=genie, device=CPU),
        world=GenieWorld(genie, sampler=Sampler(num_steps=2)),
        num_frames=4,
    )
    suites = (TokenizerSuite(), LatentProbe(), Controllability(num_draws=1))
    for suite in suites:
        result = suite.evaluate(context)
        assert result.metrics[result.headline[0]].value is not None
