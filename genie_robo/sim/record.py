"""Scripted policies in MuJoCo, written as an RLDS dataset that TFDS opens. No TensorFlow."""

import io
import json
import logging
import os
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float

from genie_robo.atomic import replacing
from genie_robo.config.sim import RecordConfig, Renderer
from genie_robo.data.images import png_bytes
from genie_robo.data.rlds_writer import ShardWriter
from genie_robo.progress import progress_bar
from genie_robo.sim.contact import CLIP_ACTIONS, box_centres, moves_a_box
from genie_robo.sim.policies import Script, make_policy, roll_policy
from genie_robo.sim.tabletop import Tabletop
from genie_robo.stored_files import read_json
from genie_robo.workers import in_order

NAME, VERSION = "tabletop", "1.0.0"
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
    """Record episodes into `config.path/tabletop/1.0.0`, in parallel, and return that folder.

    A folder recorded with the same settings is kept. A new one appears only when it is complete.

    Raises:
        ValueError: the robot or the renderer is not known.
        FileNotFoundError: the robot's files are not found.
        FileExistsError: the folder was recorded with other settings.
    """
    folder = Path(config.path) / NAME / VERSION
    if _is_recorded(folder, config):
        _log.info("keeping %s: the same settings made it", folder)
        return folder
    policies = _policy_order(config)
    # What this machine cannot record is refused before a folder is made.
    with closing(_open(config, "explore")) as env:
        drawn_by, features = env.renderer_name, _features(config, num_states=env.padded_state_size)
    with replacing(folder) as temporary:
        temporary.mkdir()
        _write(temporary, config, policies, drawn_by=drawn_by, features=features)
        _is_recorded(folder, config)  # by another process meanwhile
    return folder


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
    values = asdict(config) | {"image_size": [config.image_size] * 2}
    del values["path"], values["num_workers"]
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
    with (
        closing(
            ShardWriter(
                folder, name=NAME, version=VERSION, features=features, description=_DESCRIPTION
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


def _features(config: RecordConfig, *, num_states: int) -> Any:
    features = tfds.features
    step = {
        "observation": {
            "image": features.Image(
                shape=(config.image_size, config.image_size, 3),
                dtype=np.uint8,
                encoding_format="png",
            ),
            "state": features.Tensor(
                shape=(7,), dtype=np.float32, doc="x y z (m) roll pitch yaw (rad) gripper 1=open"
            ),
            "sim_state": features.Tensor(
                shape=(num_states,),
                dtype=np.float32,
                doc="MuJoCo integration state, zeros behind its end",
            ),
        },
        "action": features.Tensor(
            shape=(7,), dtype=np.float32, doc="dx dy dz (m) droll dpitch dyaw (rad) gripper 1=open"
        ),
        "language_instruction": features.Text(),
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "reward": np.float32,
        "discount": np.float32,
    }
    metadata = {
        "scene": features.Text(doc="JSON that rebuilds the MuJoCo model"),
        "policy": features.Text(),
        "task": features.Text(),
        "success": np.bool_,
        "seed": np.int64,
    }
    return features.FeaturesDict({"steps": features.Dataset(step), "episode_metadata": metadata})


def _open(config: RecordConfig, task: str) -> Tabletop:
    return Tabletop(
        task=task,
        robot=config.robot,
        image_size=(config.image_size, config.image_size),
        renderer=config.renderer,
        control_hz=config.control_hz,
        max_steps=config.num_steps,
    )


def _record_episode(config: RecordConfig, index: int, policy_name: str) -> _Recorded:
    """Roll one policy; everything random comes from (config.seed, index)."""
    seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
    with closing(_open(config, _TASK_OF_POLICY[policy_name])) as env:
        policy = make_policy(policy_name, seed=seed)
        steps, boxes = _roll(env, policy, seed=seed, count=config.num_steps)
        is_success = any(step["reward"] > 0 for step in steps)
        metadata = {
            "scene": env.scene.to_json(),
            "policy": policy_name,
            "task": env.scene.task,
            "success": is_success,
            "seed": seed,
        }
        episode = {"steps": steps, "episode_metadata": metadata}
        return _Recorded(episode, policy_name, is_success, moves_a_box(boxes))


def _roll(
    env: Tabletop, policy: Script, *, seed: int, count: int
) -> tuple[list[dict[str, Any]], Float[np.ndarray, "t b 3"]]:
    """RLDS steps, and where the boxes are (m).

    Step t holds o_t and the action taken in it; the last action is not taken.
    """
    env.reset(seed=seed)
    moments, actions = roll_policy(
        env,
        lambda env, _: policy.act(env).astype(np.float32),
        lambda env: (_look(env), box_centres(env)),
        num_actions=count - 1,
    )
    seen, boxes = zip(*moments, strict=True)
    actions.append(np.array([0, 0, 0, 0, 0, 0, seen[-1]["observation"]["state"][6]], np.float32))
    constant = {
        "language_instruction": env.scene.instruction,
        "is_terminal": False,
        "discount": 1.0,
    }
    steps = [
        now | constant | {"action": action, "is_first": t == 0, "is_last": t == count - 1}
        for t, (now, action) in enumerate(zip(seen, actions, strict=True))
    ]
    return steps, np.stack(boxes)


def _look(env: Tabletop) -> dict[str, Any]:
    return {
        "observation": {
            "image": io.BytesIO(png_bytes(env.render())),
            "state": env.pose.astype(np.float32),
            "sim_state": env.padded_state().astype(np.float32),
        },
        "reward": float(env.is_success),
    }
