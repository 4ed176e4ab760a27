"""Trials of a policy on disk: the frames and actions of both worlds, by name."""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.eval_suites.simulated.closed_loop import Played
from genie_robo.eval_suites.simulated.trials import Start
from genie_robo.stored_files import read_bytes

FOLDER = "trials"
_DAMAGED = (LookupError, ValueError, EOFError, MemoryError, NotImplementedError, zlib.error)
MAX_NAME = 100
"""Letters of a file's name that are those of the policy."""
MAX_BYTES = 2**30
"""Of a file, compressed or not."""


class KeptTrial(NamedTuple):
    """One trial in imagination and in MuJoCo; each starts with the prompt frame."""

    imagined_video: UInt8[np.ndarray, "t h w c"]
    true_video: UInt8[np.ndarray, "t h w c"]
    imagined_actions: Float[np.ndarray, "t-1 7"]
    """What the policy did in imagination."""
    true_actions: Float[np.ndarray, "t-1 7"]
    """What it did in MuJoCo."""
    imagined_tool: Float[np.ndarray, "t 3"]
    """Where the tool was read in imagined frames (m)."""
    true_tool: Float[np.ndarray, "t 3"]
    imagined_trust: Float[np.ndarray, " t"] | None = None
    """From 1 to 0, NaN in the prompt frame; None where the world does not say."""


def trial_name(start: Start) -> str:
    """TASK/EPISODE: a trial of a policy."""
    return f"{start.scene.task}/{start.prompt.name}"


def file_of(policy: str) -> str:
    """The name of a policy's file, without its ending."""
    plain = re.sub(r"[^a-z0-9_.-]", "_", policy)
    if plain == policy and len(plain) <= MAX_NAME:
        return f"{FOLDER}/{plain}"
    digest = hashlib.blake2b(policy.encode(), digest_size=4).hexdigest()
    return f"{FOLDER}/{plain[:MAX_NAME]}-{digest}"


def arrays_of(
    starts: Sequence[Start], dream: Sequence[Played], real: Sequence[Played]
) -> Mapping[str, np.ndarray]:
    """The arrays of one policy's file, from its batches in both worlds."""
    both = (("imagined", dream), ("true", real))
    parts = {"name": np.array([trial_name(start) for start in starts])}
    for world, batches in both:
        parts[f"{world}_video"] = np.concatenate([played.video for played in batches])
        parts[f"{world}_actions"] = np.concatenate([played.robot_actions for played in batches])
        tools = [poses.tool for played in batches for poses in played.poses]
        parts[f"{world}_tool"] = np.stack(tools)
    trust = [played.trust for played in dream if played.trust is not None]
    if trust:
        known = np.concatenate(trust)
        parts["imagined_trust"] = np.pad(known, ((0, 0), (1, 0)), constant_values=np.nan)
    return parts


def read_trial(results: Path, name: str) -> KeptTrial:
    """The trial POLICY/TASK/EPISODE of a suite's results.

    Raises:
        FileNotFoundError: No trial has this name; says which ones there are.
        ValueError: The file is damaged or too large.
    """
    policy, _, trial = name.partition("/")
    if "/" in trial and trial.count("/") > 1:
        policy, task, episode = name.rsplit("/", 2)
        trial = f"{task}/{episode}"
    path = results / f"{file_of(policy)}.npz"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in (results / FOLDER).glob("*.npz"))) or "none"
        raise FileNotFoundError(
            f"there are no trials of policy {policy} in {results}; there are those of: {known}. "
            "Name a trial as POLICY/TASK/EPISODE"
        )
    try:
        content = read_bytes(path, max_bytes=MAX_BYTES)
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"it inflates to more than {MAX_BYTES:,} bytes")
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            names = arrays["name"].tolist()
            optional = KeptTrial._field_defaults.keys() - set(arrays.files)
            found = {f: arrays[f] for f in KeptTrial._fields if f not in optional}
        if not isinstance(names, list) or any(len(v) != len(names) for v in found.values()):
            raise ValueError("its arrays are not of one length")
    except (*_DAMAGED, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read: {error}; evaluate suite=policy_evaluation again"
        ) from error
    if trial not in names:
        some = ", ".join(f"{policy}/{known}" for known in names[:3])
        raise FileNotFoundError(f"there is no trial {name}; those of {policy} begin with {some}")
    return KeptTrial(**{field: values[names.index(trial)] for field, values in found.items()})
