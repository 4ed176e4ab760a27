import numpy as np
import pytest
import torch
from eval_fakes import ToyEpisodes, ToyRobot, make_context
from small_genie import CPU, build_small_genie

from eval_suites.adapters import (
    CopyLast,
    GenieEncoder,
    GenieTokenizer,
    GenieWorld,
    Steered,
    overlapping_chunks,
)
from eval_suites.base import (
    FrameTokenizer,
    LatentActionEncoder,
    Prompt,
    SequenceEncoder,
    WorldModel,
)
from eval_suites.controllability import Controllability
from eval_suites.latent_probe import LatentProbe
from eval_suites.tokenizer import TokenizerSuite
from genie_robo.inference.settings import Sampler
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


def test_followed_codes_make_up_for_what_codes_leave_unsaid(genie):
    encoder = GenieEncoder(genie=genie, device=CPU)
    window = ToyEpisodes(ToyRobot(1, num_frames=17), [0]).whole_episode(0)
    quantizer = genie.latent_action.quantizer
    said = quantizer.bound(torch.from_numpy(encoder.encode(window).latents)).numpy()
    book = genie.latent_action.codes(torch.arange(encoder.num_codes)).detach().numpy()
    for start in (0, 5):
        expected, residual = [], np.zeros(said.shape[1])
        for motion in said[start:]:
            code = np.square(book - motion - residual).sum(axis=1).argmin()
            residual = 0.8 * (motion + residual - book[code])
            expected.append(code)
        assert encoder.encode_sequence(window, start).tolist() == expected
    assert encoder.encode_sequence(window, 0).tolist() != encoder.encode(window).codes.tolist()


def test_where_encodings_have_no_size_nothing_is_carried_on(genie, monkeypatch):
    encoder = GenieEncoder(genie=genie, device=CPU)
    window = ToyEpisodes(ToyRobot(1, num_frames=17), [0]).whole_episode(0)
    monkeypatch.setattr(genie.latent_action.quantizer, "space", Space.sphere)
    assert encoder.encode_sequence(window, 5).tolist() == encoder.encode(window).codes[5:].tolist()


def test_robot_actions_are_mapped_rollout_by_rollout():
    seen = []

    class Codes(CopyLast):
        def imagine(self, prompts, latent_actions, seeds):
            seen.append(latent_actions)
            return super().imagine(prompts, latent_actions, seeds)

    def count(actions):
        return np.arange(len(actions)) + int(actions[0, 0])

    prompts = [Prompt("a", 0, numbered(1))] * 2
    world = Steered(world_model=Codes(), to_codes=count)
    world.imagine_robot(prompts, np.arange(2.0)[:, None, None] * np.ones((2, 3, 7)), [0, 1])
    assert seen[0].tolist() == [[0, 1, 2], [1, 2, 3]]


def test_adapters_satisfy_the_protocols(genie):
    world = GenieWorld(genie=genie, sampler=Sampler(), device=CPU)
    assert isinstance(GenieEncoder(genie=genie, device=CPU), LatentActionEncoder)
    assert isinstance(GenieEncoder(genie=genie, device=CPU), SequenceEncoder)
    assert isinstance(GenieTokenizer(genie=genie, device=CPU), FrameTokenizer)
    assert isinstance(world, WorldModel)
    assert isinstance(CopyLast(), WorldModel)


def test_tokenizer_keeps_order_and_length(genie):
    video = ToyRobot(1, num_frames=6).video(0)
    made = GenieTokenizer(genie=genie, device=CPU).reconstruct(video)
    assert made.video.shape == video.shape
    assert made.tokens.shape == (6, 4)
    first = video_to_float(torch.from_numpy(video[None, :4]))
    tokens = genie.tokenizer.encode(first)
    np.testing.assert_array_equal(made.tokens[:4], tokens[0])
    np.testing.assert_array_equal(made.video[:4], video_to_bytes(genie.tokenizer.decode(tokens))[0])


def test_world_gives_the_frames_after_the_prompt(genie):
    world = GenieWorld(genie=genie, sampler=Sampler(num_steps=2), device=CPU)
    video = ToyRobot(1).video(0)
    prompts = [Prompt("a", 0, video[:1]), Prompt("b", 3, video[3:4])]
    actions = np.array([[0, 1, 2], [3, 4, 5]])
    both = world.imagine(prompts, actions, [5, 6])
    alone = world.imagine(prompts[1:], actions[1:], [6])
    assert both.shape == (2, 3, 32, 32, 3)
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1


def test_suites_run_on_a_real_genie(genie):
    context = make_context(
        ToyRobot(6, num_frames=9),
        encoder=GenieEncoder(genie=genie, device=CPU),
        untrained_encoder=GenieEncoder(genie=genie, device=CPU),
        tokenizer=GenieTokenizer(genie=genie, device=CPU),
        world_model=GenieWorld(genie=genie, sampler=Sampler(num_steps=2), device=CPU),
        num_frames=4,
    )
    suites = (TokenizerSuite(), LatentProbe(), Controllability(num_draws=1))
    for suite in suites:
        result = suite.evaluate(context)
        assert result.metrics[result.headline[0]].value is not None
