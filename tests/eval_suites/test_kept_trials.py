import shutil
from dataclasses import replace

import numpy as np
import pytest
from mujoco_fakes import TruePoseReader, record_context

from genie_robo.cli import main
from genie_robo.eval_suites import policy_evaluation
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.policy_evaluation import PolicyEvaluation
from genie_robo.eval_suites.results import write_result
from genie_robo.eval_suites.simulated.kept_trials import file_of, read_trial
from genie_robo.eval_suites.simulated.panel import SCRIPTED
from genie_robo.inference.world import HeldFrame
from genie_robo.run_folder import RunFolder
from genie_robo.trial_recording import SUITE, record_trial, trial_view
from tests.viz.conftest import read_recording


class Fading(HeldFrame):
    """A held frame whose trust falls with every step, from another value in each rollout."""

    def start(self, prompts, seeds):
        self._trust = np.linspace(1, 0.5, len(prompts))
        return super().start(prompts, seeds)

    def step(self, actions):
        self._trust = self._trust * 0.9
        return replace(super().step(actions), trust=self._trust)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run folder with the results of the suite, and a name of an episode."""
    path = tmp_path_factory.mktemp("kept")
    context = record_context(path, num_frames=6, num_episodes=4, num_steps=8)
    suite = PolicyEvaluation(
        policies=list(SCRIPTED), num_starts=2, tasks=["reach", "push"], batch_size=3
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(policy_evaluation, "watch", lambda context: Fading())
        reader = TruePoseReader(patched)
        patched.setattr(policy_evaluation, "fit_pose_readers", reader.as_readers())
        result = run_suite(suite, plug(context, world_model="copy_last"))
    run = RunFolder(path / "run")
    write_result(run.suite(SUITE), result, suite=suite)
    return run, result


def test_every_trial_is_kept(evaluated):
    run, result = evaluated
    results = run.suite(SUITE)
    keys = zip(
        result.table.keys["policy"], result.table.keys["task"], result.table.episodes, strict=True
    )
    names = ["/".join(key) for key in keys]
    assert len(names) == len(SCRIPTED) * 2 * 2
    moved = []
    for name in names:
        trial = read_trial(results, name)
        assert trial.imagined_video.shape == trial.true_video.shape == (6, 32, 32, 3)
        assert trial.imagined_actions.shape == trial.true_actions.shape == (5, 7)
        assert (trial.imagined_video == trial.true_video[0]).all()
        moved.append((trial.true_video != trial.true_video[0]).any())
    assert sum(moved) > len(names) / 2


def test_the_trust_in_every_imagined_frame_is_kept(evaluated):
    run, result = evaluated
    table = result.table
    for policy, task, episode, least in zip(
        table.keys["policy"],
        table.keys["task"],
        table.episodes,
        table.columns["trust"],
        strict=True,
    ):
        trust = read_trial(run.suite(SUITE), f"{policy}/{task}/{episode}").imagined_trust
        assert np.isnan(trust[0])
        np.testing.assert_allclose(trust[1:], least / 0.9 ** np.arange(4, -1, -1))
    assert len(set(table.columns["trust"])) == 3


def test_trust_is_a_curve_of_the_recording(evaluated):
    run, result = evaluated
    name = f"expert/push/{result.table.episodes[0]}"
    curve = read_recording(record_trial(run, name))["/trial/trust/imagined:Scalars:scalars"]
    assert curve.steps == [1, 2, 3, 4, 5]
    kept = read_trial(run.suite(SUITE), name).imagined_trust
    np.testing.assert_array_equal(np.ravel(curve.values), kept[1:])


def test_a_file_without_trust_opens_without_the_curve(evaluated, tmp_path):
    run, result = evaluated
    name = f"expert/push/{result.table.episodes[0]}"
    old = RunFolder(tmp_path)
    path = old.suite(SUITE) / f"{file_of('expert')}.npz"
    path.parent.mkdir(parents=True)
    with np.load(run.suite(SUITE) / f"{file_of('expert')}.npz") as arrays:
        np.savez(path, **{key: arrays[key] for key in arrays.files if key != "imagined_trust"})
    found = read_trial(old.suite(SUITE), name)
    assert found.imagined_trust is None
    kept = read_trial(run.suite(SUITE), name)
    for field in found._fields[:-1]:
        np.testing.assert_array_equal(getattr(found, field), getattr(kept, field))
    contents = read_recording(record_trial(old, name))
    assert not any(key.startswith("/trial/trust") for key in contents)
    assert any(key.startswith("/trial/psnr") for key in contents)


def test_a_trial_opens_as_a_recording(evaluated):
    run, result = evaluated
    name = f"expert/push/{result.table.episodes[0]}"
    path = record_trial(run, name)
    assert path.parent == run.rollouts
    assert path.stat().st_size > 10_000
    assert path.name == f"policy_evaluation-expert-push-{result.table.episodes[0]}.rrd"
    view = trial_view(read_trial(run.suite(SUITE), name), name)
    np.testing.assert_array_equal(view.psnr["imagined"], view.psnr["copy_last"])
    assert view.read_path.error_mm["imagined"][0] == 0
    assert view.read_path.error_mm["imagined"][-1] > 20
    assert f"{view.read_path.error_mm['imagined'][-1]:.0f} mm apart" in view.summary


def test_the_recording_holds_frames_and_actions_of_both_worlds(evaluated):
    run, result = evaluated
    names = [f"expert/push/{episode}" for episode in set(result.table.episodes)]
    trials = {name: read_trial(run.suite(SUITE), name) for name in names}
    name = max(
        names, key=lambda n: np.abs(trials[n].imagined_actions - trials[n].true_actions).max()
    )
    trial, contents = trials[name], read_recording(record_trial(run, name))
    for camera in ("imagined", "true"):
        stored = contents[f"/trial/camera/{camera}:Image:buffer"].values
        frames = np.array(stored, dtype=np.uint8).reshape(-1, 32, 32, 3)
        np.testing.assert_array_equal(frames, getattr(trial, f"{camera}_video"))
    assert (trial.imagined_video != trial.true_video).any()
    for below, actions in (("", trial.true_actions), ("/imagined", trial.imagined_actions)):
        key = f"/trial/robot_action/translation{below}:Scalars:scalars"
        np.testing.assert_allclose(contents[key].values, actions[:, :3], rtol=1e-6)
    assert (trial.imagined_actions != trial.true_actions).any()
    labels = contents["/trial/robot_action/gripper/imagined:SeriesLines:names"].values[0]
    assert labels == ["gripper imagined (1 = open)"]


def test_trials_in_another_world_open_from_their_own_folder(evaluated, tmp_path):
    run, result = evaluated
    name = f"expert/push/{result.table.episodes[0]}"
    other, folder = RunFolder(tmp_path), f"{SUITE}+copy_last"
    shutil.copytree(run.suite(SUITE), other.suite(folder))
    path = record_trial(other, name, results=folder)
    assert path.name == f"policy_evaluation+copy_last-expert-push-{result.table.episodes[0]}.rrd"
    with pytest.raises(FileNotFoundError, match="no trials of policy expert"):
        record_trial(other, name)


@pytest.fixture
def opened(monkeypatch):
    """The recordings that `view` opens in a window, which is none here."""
    found = []
    monkeypatch.setattr("genie_robo.commands.checks.check_display", lambda: None)
    monkeypatch.setattr("genie_robo.commands.view.open_window", found.extend)
    return found


def test_the_command_opens_a_trial(evaluated, tmp_path, opened, capsys):
    run, result = evaluated
    folder = RunFolder(tmp_path)
    shutil.copytree(run.suite(SUITE), folder.suite(f"{SUITE}+copy_last"))
    trial = f"trial=expert/push/{result.table.episodes[0]}"
    assert main(["view", f"run={tmp_path}", trial, f"results={SUITE}+copy_last"]) == 0
    (path,) = opened
    assert path.parent == folder.rollouts
    assert path.exists()
    assert path.name in capsys.readouterr().out
    assert main(["view", f"run={tmp_path}", trial]) == 1
    message = capsys.readouterr().err
    assert "there are those of results=policy_evaluation+copy_last" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lucky/push/x", "no trials of policy lucky .* those of: empty_handed, expert"),
        ("expert/push/x", "no trial expert/push/x; those of expert begin with expert/reach/"),
        ("expert", "no trial expert"),
    ],
)
def test_unknown_trials_are_named(evaluated, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        read_trial(evaluated[0].suite(SUITE), name)


def test_a_damaged_file_is_refused(evaluated, tmp_path):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "expert.npz").write_bytes(b"PK" + bytes(100))
    with pytest.raises(ValueError, match=r"expert\.npz cannot be read"):
        read_trial(tmp_path, "expert/push/x")
    np.savez(tmp_path / "trials" / "expert.npz", name=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read"):
        read_trial(tmp_path, "expert/push/x")


def test_policies_with_similar_names_have_files_of_their_own():
    names = ["a_b", "a:b", "a/b", "A_b", "\u00e9", "\u00fc", "x" * 300, "x" * 301]
    files = [file_of(name) for name in names]
    assert len({file.lower() for file in files}) == len(names)
    assert max(map(len, files)) < 150
