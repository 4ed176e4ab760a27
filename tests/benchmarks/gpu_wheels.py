"""Download what gpu_check.py needs on a machine that has torch but no network.

    python tests/benchmarks/gpu_wheels.py runs/wheels --python 3.12 --without numpy scipy

Wheels for Linux on x86-64 of every package that is installed here, without those that the other
machine has in versions of its own: torch and the named ones. docs/training.md has the lines to run
there.
"""

import argparse
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.metadata import distributions
from pathlib import Path

PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{n}_x86_64" for n in range(17, 40)))
NOT_NEEDED = {"genie-robo", "imageio-ffmpeg", "pip", "pygame-ce", "ruff", "selenium", "setuptools"}


def packages(without: Collection[str]) -> list[str]:
    """Name and version of all that is installed here, and the runtime of xformers' kernels."""
    here = {each.name.lower().replace("_", "-"): each.version for each in distributions()}
    names = here.keys() - NOT_NEEDED - {"torch", "triton", *without}
    kept = sorted(name for name in names if not name.startswith(("nvidia-", "cuda-")))
    return [*(f"{name}=={here[name]}" for name in kept), "nvidia-cuda-runtime-cu12<12.9"]


def main(words: Sequence[str] | None = None) -> None:
    """Download, build what is published as source only, and print the size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of the other machine's Python")
    parser.add_argument("--without", nargs="*", default=(), help="packages that are there")
    given = parser.parse_args(words)
    there = [f"--python-version={given.python}", *(f"--platform={name}" for name in PLATFORMS)]
    _pip("download", given.folder, *there, "--prefer-binary", *packages(given.without))
    for source in given.folder.glob("*.tar.gz"):
        _pip("wheel", given.folder, str(source))
        source.unlink()
    sizes = [wheel.stat().st_size for wheel in given.folder.glob("*.whl")]
    print(f"{len(sizes)} wheels, {sum(sizes) / 2**20:.0f} MiB in {given.folder}")


def _pip(what: str, folder: Path, *words: str) -> None:
    place = "--dest" if what == "download" else "--wheel-dir"
    line = [sys.executable, "-m", "pip", what, "--quiet", "--no-deps", place, str(folder), *words]
    subprocess.run(line, check=True)


if __name__ == "__main__":
    main()
