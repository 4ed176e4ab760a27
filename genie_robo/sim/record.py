"""Scripted policies in MuJoCo, written as an RLDS dataset that TFDS opens. No TensorFlow."""

import json
import logging
import os
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from genie_robo.atomic import replacing
from genie_robo.config.sim import RecordConfig, RecordLayout, Renderer
from genie_robo.data.rlds_writer import ShardWriter
from genie_robo.progress import progress_bar
from genie_robo.sim.contact import CLIP_ACTIONS, box_centres, moves_a_box
from genie_robo.sim.layouts import LAYOUTS, Moment, RecordedEpisode
from genie_robo.sim.policies import Script, make_policy, roll_policy
from genie_robo.sim.tabletop import Tabletop
from genie_robo.stored_files import read_json
from genie_robo.workers import in_order

RECORDING_FILE = "recording.json"
"""Settings of the dataset, and how well the policies did. TFDS ignores it."""
REVISION = 2
"""Raise it when scenes, policies or images change: older recordings are then not kept."""
_TASK_OF_POLICY = {"pick": "pick", "push": "push", "random": "explore", "play": "explore"}
_DESCRIPTION = "Scripted robot episodes in MuJoCo."

_log = logging.getLogger(__name__)


class _Recorded(NamedTuple):
    episode: dict[str, Any]
    policy: str
    is_success: bool
    moves: Bool[np.ndarray, " n"]
    """Whether each clip moves a box."""


def record_dataset(config: RecordConfig) -> Path:
    """Record episodes into `config.path/NAME/VERSION`, in parallel, and return that folder.

    The name and the version are those of the layout, such as tabletop/1.0.0.

    A folder recorded with the same settings is kept. A new one appears only when it is complete.

    Raises:
        ValueError: the robot or the renderer is not known.
        FileNotFoundError: the robot's files are not found.
        FileExistsError: the folder was recorded with other settings.
    """
    layout = LAYOUTS[config.layout]
    folder = Path(config.path) / layout.name / layout.version
    if _is_recorded(folder, config):
        _log.info("keeping %s: the same settings made it", folder)
        return folder
    policies = _policy_order(config)
    # What this machine cannot record is refused before a folder is made.
    with closing(_open(config, "explore")) as env:
        drawn_by, features = (
            env.renderer_name,
            layout.features(config.frame_size, num_states=env.padded_state_size),
        )
    with replacing(folder) as temporary:
        temporary.mkdir()
        _write(temporary, config, policies, drawn_by=drawn_by, features=features)
        _is_recorded(folder, config)  # by another process meanwhile
    return folder


def check_recording(config: RecordConfig) -> None:
    """Check that this machine can record like this; writes nothing.

    Raises:
        ValueError: the robot or the renderer is not known.
        FileNotFoundError: the robot's files are not found.
    """
    with closing(_open(config, "explore")):
        pass


def _is_recorded(folder: Path, config: RecordConfig) -> bool:
    if not folder.exists():
        return False
    try:
        made_by = read_json(folder / RECORDING_FILE)
    except (FileNotFoundError, ValueError):
        made_by = {}
    differences = [
        f"{key} {made_by.get(key)!r} instead of {value!r}"
        for key, value in _settings(config).items()
        if made_by.get(key) != value
    ]
    if differences:
        raise FileExistsError(
            f"{folder} was recorded with other settings: {', '.join(differences)}; give another "
            f"path, or delete the folder to record it again"
        )
    return True


def _settings(config: RecordConfig) -> dict[str, Any]:
    """Everything that a recording depends on, as read back from JSON."""
    values = asdict(config) | {"image_size": config.frame_size}
    del values["path"], values["num_workers"]
    if config.layout is RecordLayout.tabletop:  # recordings of before there were others
        del values["layout"]
    return json.loads(json.dumps(values)) | {"revision": REVISION, "mujoco": version("mujoco")}


def _policy_order(config: RecordConfig) -> list[str]:
    """Policies by episode: exact shares (largest remainders), in seeded random order."""
    shares = np.array([getattr(config, name) for name in _TASK_OF_POLICY])
    quotas = shares / shares.sum() * config.num_episodes
    counts = np.floor(quotas).astype(int)
    counts[np.argsort(counts - quotas, kind="stable")[: config.num_episodes - counts.sum()]] += 1
    names = np.repeat(list(_TASK_OF_POLICY), counts)
    return np.random.default_rng(config.seed).permutation(names).tolist()


def _write(
    folder: Path, config: RecordConfig, policies: list[str], *, drawn_by: str, features: Any
) -> None:
    counts = {name: {"episodes": 0, "successes": 0} for name in _TASK_OF_POLICY}
    moves = []
    _log.info("robot=%s, frames drawn by %s", config.robot, drawn_by)
    # Chosen once, so that all workers use the same renderer.
    decided = replace(config, renderer=Renderer(drawn_by))
    jobs = [(decided, index, policy) for index, policy in enumerate(policies)]
    num_workers = min(config.num_workers or os.cpu_count() or 1, len(jobs))
    layout = LAYOUTS[config.layout]
    with (
        closing(
            ShardWriter(
                folder,
                name=layout.name,
                version=layout.version,
                features=features,
                description=_DESCRIPTION,
            )
        ) as writer,
        progress_bar("record", total=len(jobs), unit="episodes") as advance,
        closing(in_order(_record_episode, jobs, num_workers=num_workers)) as results,
    ):
        for result in results:
            writer.write(result.episode)
            counts[result.policy]["episodes"] += 1
            counts[result.policy]["successes"] += int(result.is_success)
            moves.append(result.moves)
            advance()
        writer.finish()
    clips = np.concatenate(moves)
    share = float(clips.mean()) if len(clips) else None
    if share is not None:
        _log.info("%.0f %% of clips of %d actions move a box", 100 * share, CLIP_ACTIONS)
    facts = {"policies": counts, "rendered_by": drawn_by, "share_of_clips_that_move_a_box": share}
    summary = _settings(config) | facts
    (folder / RECORDING_FILE).write_text(json.dumps(summary, indent=2))


def _open(config: RecordConfig, task: str) -> Tabletop:
    return Tabletop(
        task=task,
        robot=config.robot,
        image_size=config.frame_size,
        renderer=config.renderer,
        control_hz=config.control_hz,
    )


def _record_episode(config: RecordConfig, index: int, policy_name: str) -> _Recorded:
    """Roll one policy; everything random comes from (config.seed, index)."""
    seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
    with closing(_open(config, _TASK_OF_POLICY[policy_name])) as env:
        policy = make_policy(policy_name, seed=seed)
        moments, actions = _roll(env, policy, seed=seed, config=config)
        is_success = any(moment.is_success for moment in moments)
        recorded = RecordedEpisode(
            moments=moments,
            actions=np.stack(actions),
            scene=env.scene,
            policy=policy_name,
            seed=seed,
        )
        boxes = np.stack([moment.boxes for moment in moments])
        return _Recorded(
            LAYOUTS[config.layout].episode(recorded), policy_name, is_success, moves_a_box(boxes)
        )


def _roll(
    env: Tabletop, policy: Script, *, seed: int, config: RecordConfig
) -> tuple[list[Moment], list[np.ndarray]]:
    """What is seen at each step, and the action taken in it; the last action is not taken.

    Episodes of RT-1 end where the task is solved.
    """
    env.reset(seed=seed)
    ends_early = LAYOUTS[config.layout].ends_when_solved
    moments, actions = roll_policy(
        env,
        lambda env, _: policy.act(env).astype(np.float32),
        _look,
        num_actions=config.num_steps - 1,
        until=lambda env: ends_early and env.is_success,
    )
    actions.append(np.array([0, 0, 0, 0, 0, 0, moments[-1].pose[6]], np.float32))
    return moments, actions


def _look(env: Tabletop) -> Moment:
    return Moment(
        frame=env.render(),
        pose=env.pose.astype(np.float32),
        sim_state=env.padded_state().astype(np.float32),
        is_success=env.is_success,
        boxes=box_centres(env),
    )
