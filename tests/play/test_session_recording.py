from dataclasses import replace

import av
import numpy as np
import pytest
import rerun as rr

from genie_robo.play.recording import view_session, write_session
from genie_robo.video_files import GAP, HEADER_HEIGHT
from genie_robo.viz.recording import check_recording


def entities(recording) -> set[str]:
    chunks = rr.chunk.RrdReader(recording).stream().to_chunks()
    return {str(chunk.entity_path) for chunk in chunks}


def test_session_is_written_as_recording_and_video(mapped, tmp_path):
    game = mapped()
    game.act(game.code_action(4))
    game.act(game.move_action("-x", np.array([-0.04, 0.0, 0.0])))

    first, second = write_session(tmp_path, game), write_session(tmp_path, game)

    assert [path.name for path in (first, second)] == ["play_000.rrd", "play_001.rrd"]
    check_recording(first)
    with av.open(str(tmp_path / "play_000.mp4")) as video:
        shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(shown) == 3
    assert shown[0].shape == (HEADER_HEIGHT + 192, 2 * 192 + GAP - 1, 3), "even, with labels"


def test_recording_shows_what_was_played(mapped):
    game = mapped()
    game.act(game.code_action(4))
    game.act(game.gripper_action())

    view = view_session(game)

    assert (view.imagined_video == np.stack([m.frame for m in game.moments])).all()
    assert (view.true_video == np.stack([m.true_frame for m in game.moments])).all()
    assert (view.replay.video == view.true_video).all()
    assert view.latent_actions.tolist() == [4, 2]
    assert view.robot_actions.tolist() == [[0.04, 0, 0, 0, 0, 0, 1], [0] * 7]
    assert view.psnr["copy_last"][0] == 100.0
    assert "Pressed: 4 +x, close" in view.summary


def test_slow_frames_replay_one_state_each(mapped, prompts):
    game = mapped(replace(prompts.episode(0).prompt, stride=2))
    game.act(game.code_action(4))
    game.act(game.code_action(0))

    view = view_session(game)

    assert view.replay.positions.shape[0] == 3
    assert (view.replay.video == view.true_video).all()


def test_without_a_simulator_nothing_true_is_shown(make, tmp_path):
    game = make()
    game.act(game.code_action(0))

    view = view_session(game)

    assert (view.true_video, view.robot_actions, view.replay) == (None, None, None)
    assert (view.decoded_actions, view.code_names) == (None, ())
    assert (view.psnr, "there are no true frames" in view.summary) == ({}, True)
    recording = write_session(tmp_path, game)
    check_recording(recording)
    assert not [e for e in entities(recording) if e.endswith(("camera/true", "camera/difference"))]


def test_names_decoded_actions_and_uncertainty_are_shown(mapped):
    game = mapped()
    game.act(game.code_action(4))
    game.act(game.code_action(2))

    view = view_session(game)

    assert view.code_names == ("0 -x", "1 -x", "2 still", "3 +x", "4 +x")
    assert view.decoded_actions[:, 0].tolist() == [0.04, 0.0]
    assert view.uncertainty.tolist() == [moment.uncertainty for moment in game.moments]
    assert view.uncertainty[0] == 0 < view.uncertainty[1]
    assert "Sampler: 2 steps, temperature 0.25, random order, top_k 0, guidance 1." in view.summary


def test_there_must_be_something_to_record(make, tmp_path):
    with pytest.raises(ValueError, match="there is nothing to record yet"):
        write_session(tmp_path, make())
    assert list(tmp_path.iterdir()) == []
