"""Provenance of a result: versions, commit, machine, dataset, episode split, seeds."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.stored_files import read_json

PACKAGES = (
    "genie-robo",
    "torch",
    "numpy",
    "mujoco",
    "tensorflow-datasets",
    "lightning-fabric",
    "xformers",
    "rerun-sdk",
    "hydra-core",
)
_MAX_BYTES = 200_000_000
"""It lists every episode: room for some million."""


def write_provenance(
    run: RunFolder,
    *,
    dataset_fingerprints: Mapping[str, str],
    episodes: Mapping[str, Mapping[str, Sequence[str]]],
    seeds: Mapping[str, int],
    joint_names: Sequence[str] = (),
) -> None:
    """Write provenance.json of a run.

    Fingerprints, and the episode ids of each split, are by dataset. The first dataset, which is
    evaluated and has the names of joints, is named "", the others as in data.mix. Other datasets
    that the run was trained on before are kept under `earlier_datasets`.
    """
    sides = {name: {side: list(ids) for side, ids in s.items()} for name, s in episodes.items()}
    content = {
        "versions": package_versions(),
        "commit": git_commit(),
        "machine": describe_machine(),
        "dataset_fingerprint": dataset_fingerprints[""],
        "joint_names": list(joint_names),
        "seeds": dict(seeds),
        "episodes": sides[""],
        "mixed": {
            name: {"dataset_fingerprint": fingerprint, "episodes": sides[name]}
            for name, fingerprint in dataset_fingerprints.items()
            if name
        },
    }
    content["earlier_datasets"] = _earlier_datasets(read_provenance(run), content)
    write_atomic(run.provenance, json.dumps(content, indent=2) + "\n")


def read_provenance(run: RunFolder) -> dict[str, Any] | None:
    """The content of provenance.json, or None if there is none yet.

    Raises:
        ValueError: It is damaged.
    """
    if not run.provenance.exists():
        return None
    try:
        content = read_json(run.provenance, max_bytes=_MAX_BYTES)
        return {**content, "dataset_fingerprint": str(content["dataset_fingerprint"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{run.provenance} cannot be read ({type(error).__name__}: {error}); it was edited, or "
            "written by another version of genie_robo. Restore it from a copy of the run"
        ) from error


def _earlier_datasets(
    before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What an earlier provenance.json says of datasets other than those of today."""
    if before is None:
        return []
    names = ("dataset_fingerprint", "episodes", "mixed")
    earlier = list(before.get("earlier_datasets", []))
    if _fingerprints(before) != _fingerprints(now):
        earlier.append({name: before.get(name) for name in names})
    return earlier


def _fingerprints(content: Mapping[str, Any]) -> list[str]:
    mixed = content.get("mixed") or {}
    return [content["dataset_fingerprint"], *(mixed[n]["dataset_fingerprint"] for n in mixed)]


def package_versions() -> dict[str, str | None]:
    """Version of every package that numbers depend on; None where it is not installed."""
    return {name: package_version(name) for name in PACKAGES}


def package_version(package: str) -> str | None:
    """Version of one installed package, without importing it; None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """Commit of the repository this code runs from, `-dirty` with changes, None for a wheel."""
    repository = Path(__file__).parents[1]
    git = shutil.which("git")
    if git is None or not (repository / ".git").exists():
        return None
    describe = [git, "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40"]
    answer = subprocess.run(describe, capture_output=True, text=True, check=False)  # noqa: S603  fixed words, own folder
    return answer.stdout.strip() or None


def describe_machine() -> dict[str, str | int | float]:
    """The processor, its cores, and memory in GiB."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory_bytes() / 2**30, 1),
    }


def memory_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _processor() -> str:
    """From /proc on Linux, else from the platform module."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
