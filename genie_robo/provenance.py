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


def write_provenance(
    run: RunFolder,
    *,
    dataset_fingerprints: Mapping[str, str],
    episodes: Mapping[str, Mapping[str, Sequence[str]]],
    seeds: Mapping[str, int],
) -> None:
    """Write provenance.json of a run.

    Fingerprints, and the episode ids of each split, are by dataset. The first dataset, which is
    evaluated, is named "", the others as in data.mix.
    """
    sides = {name: {side: list(ids) for side, ids in s.items()} for name, s in episodes.items()}
    content = {
        "versions": package_versions(),
        "commit": git_commit(),
        "machine": describe_machine(),
        "dataset_fingerprint": dataset_fingerprints[""],
        "seeds": dict(seeds),
        "episodes": sides[""],
        "mixed": {
            name: {"dataset_fingerprint": fingerprint, "episodes": sides[name]}
            for name, fingerprint in dataset_fingerprints.items()
            if name
        },
    }
    write_atomic(run.provenance, json.dumps(content, indent=2) + "\n")


def read_provenance(run: RunFolder) -> dict[str, Any] | None:
    """The content of provenance.json, or None if there is none yet."""
    return json.loads(run.provenance.read_text()) if run.provenance.exists() else None


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
