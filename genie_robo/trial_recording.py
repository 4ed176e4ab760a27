"""A kept trial of a policy as a recording: imagination next to MuJoCo."""

from pathlib import Path

import numpy as np

from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.eval_suites.simulated.kept_trials import KeptTrial, read_trial
from genie_robo.run_folder import RunFolder
from genie_robo.run_lock import only_writer
from genie_robo.viz.rollout import write_rollouts
from genie_robo.viz.rollout_view import COPY_LAST, IMAGINED, ReadPath, RolloutView

SUITE = "policy_evaluation"


def record_trial(run: RunFolder, name: str, *, results: str = SUITE) -> Path:
    """Write the recording of the trial POLICY/TASK/EPISODE to the run's rollouts.

    Args:
        run: The run.
        name: Of the trial.
        results: The folder in RUN/eval that holds it, which says which world imagined it.

    Raises:
        FileNotFoundError: No trial has this name.
        ValueError: The stored trials are damaged.
        RuntimeError: Another process writes into the run.
    """
    view = trial_view(read_trial(run.suite(results), name), name)
    title = f"{results}-{name}"
    path = run.rollouts / f"{title.replace('/', '-').replace(':', '.')}.rrd"
    with only_writer(run):
        return write_rollouts(path, {"trial": view}, name=title)


def trial_view(trial: KeptTrial, name: str) -> RolloutView:
    """Frames, tools and the policy's actions of both worlds."""
    apart_mm = np.linalg.norm(trial.imagined_tool - trial.true_tool, axis=-1) * 1000
    held = np.repeat(trial.true_video[:1], len(trial.true_video), axis=0)
    differ = np.abs(trial.imagined_actions - trial.true_actions)[:, :3].max() * 1000
    return RolloutView(
        episode_id=name,
        control_hz=0.0,
        imagined_video=trial.imagined_video,
        true_video=trial.true_video,
        latent_actions=None,
        num_codes=0,
        num_prompt_frames=1,
        robot_actions=trial.true_actions,
        imagined_actions=trial.imagined_actions,
        trust=trial.imagined_trust,
        read_path=ReadPath(positions=trial.imagined_tool, error_mm={IMAGINED: apart_mm}),
        psnr={
            IMAGINED: frame_psnr(trial.true_video, trial.imagined_video),
            COPY_LAST: frame_psnr(trial.true_video, held),
        },
        summary=(
            f"# {name}\n\nThe policy acts on imagined frames in imagination and on MuJoCo's frames "
            f"there. Its motions in the two worlds differ by up to {differ:.0f} mm in a step; the "
            f"tools end {apart_mm[-1]:.0f} mm apart. Robot actions are those in MuJoCo, the "
            "pale ones those in imagination."
        ),
    )
