"""Videos that know nothing of the future, as they are worked out by hand."""

import numpy as np
from eval_fakes import FakeEncoder, ToyRobot, make_context

from genie_robo.eval_suites.rollouts import choose_clips
from genie_robo.eval_suites.uninformed import mean_frame, other_episode, uninformed_videos


def make(num_episodes=8, **changes):
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    context = make_context(ToyRobot(num_episodes), encoder=encoder, **changes)
    return context, choose_clips(context, num_clips=4, horizon=3, name="test")


def test_what_each_video_shows():
    context, clips = make()
    imagined = np.random.default_rng(0).integers(256, size=(4, 3, 32, 32, 3), dtype=np.uint8)
    videos = uninformed_videos(context, clips, imagined)
    assert list(videos) == ["mean_frame", "blurred_prompt", "other_clip"]
    for video in videos.values():
        assert (video.shape, video.dtype) == (imagined.shape, np.uint8)
    whole = [context.fit.whole_episode(e).video.mean(axis=0) for e in range(4)]
    np.testing.assert_array_equal(videos["mean_frame"][2, 1], np.mean(whole, axis=0).round())
    np.testing.assert_array_equal(videos["other_clip"], imagined[[1, 2, 3, 0]])
    blurred, prompt = videos["blurred_prompt"][0], clips[0].prompt.frames[-1]
    assert (blurred == blurred[:1]).all()  # the same in every frame
    assert abs(blurred[0].mean() - prompt.mean()) < 12
    edges = [np.abs(np.diff(image.astype(int), axis=1)).max() for image in (blurred[0], prompt)]
    assert edges[0] < 0.2 * edges[1]


def test_a_single_colour_is_blurred_to_itself():
    context, clips = make()
    for clip in clips:
        clip.window.video[:] = 77
    videos = uninformed_videos(context, clips, np.zeros((4, 3, 32, 32, 3), np.uint8))
    assert (videos["blurred_prompt"] == 77).all()


def test_the_other_clip_is_of_another_episode():
    assert other_episode(["a", "a", "b", "c", "a"]).tolist() == [2, 2, 3, 4, 2]
    assert other_episode(["a", "a"]) is None


def test_without_episodes_to_fit_on_there_is_no_mean_frame():
    context, clips = make(num_fit=0)
    assert mean_frame(context) is None
    videos = uninformed_videos(context, clips, np.zeros((4, 3, 32, 32, 3), np.uint8))
    assert list(videos) == ["blurred_prompt", "other_clip"]
