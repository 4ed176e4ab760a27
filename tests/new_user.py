"""A new user: an empty folder, the built wheel in an environment of its own, README and tutorials.

The environment finds the packages that genie_robo needs in that of the tests, by a .pth file, so
that nothing but the build backend is downloaded.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
TUTORIALS = [
    (REPOSITORY / "docs" / "tutorials" / name).read_text() for name in ("demo.md", "own_data.md")
]
COMMAND_LIMIT_S = 1800
_NO_REGISTRY = ("No matching distribution", "Could not find a version", "Connection")
"""What pip says where it cannot fetch the build backend, or itself."""
_NO_PACKAGES = ("from versions: none", "Connection")
"""What it says where it finds no version of a dependency at all, so not where none fits."""


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


class User(NamedTuple):
    """Where the user works, and the programs that were installed."""

    folder: Path
    programs: Path

    @property
    def wheel(self) -> Path:
        """The wheel that was built and installed."""
        (wheel,) = (self.folder.parent / "wheels").glob("*.whl")
        return wheel

    @property
    def environment(self) -> dict[str, str]:
        """Without what the tests set, and with a home of their own."""
        own = {name: os.environ[name] for name in ("LANG", "MUJOCO_GL") if name in os.environ}
        return own | {
            "HOME": str(self.folder.parent / "home"),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }

    def run(self, line: str) -> Done:
        """A line as it is typed into a shell."""
        done = subprocess.run(
            shlex.split(line),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def serving(self, line: str) -> Iterator[str]:
        """The address that a line prints; what serves it is ended afterwards."""
        process = subprocess.Popen(
            shlex.split(line),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            said = []
            for text in process.stdout:
                said.append(text)
                if found := re.match(r"(play|viewer): (http\S+)", text):
                    yield found[2]
                    return
            raise AssertionError(f"{line} printed no address: {''.join(said)}")
        finally:
            process.terminate()
            process.communicate()


def install(folder: Path) -> User:
    """Build the wheel and install it into a new environment; skips where pip cannot."""
    venv, wheels = folder / "environment", folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(REPOSITORY)])
    _check_or_skip(built, "the build backend")
    _check(_run([sys.executable, "-m", "venv", "--without-pip", str(venv)]))
    (wheel,) = wheels.glob("*.whl")
    python = venv / "bin" / "python"
    _check(_run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)]))
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "packages_of_the_tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for name in ("work", "home"):
        (folder / name).mkdir()
    return User(folder / "work", venv / "bin")


def would_install(wheel: Path, venv: Path) -> set[str]:
    """Names of what pip would install for a wheel into a new environment; skips without a registry.

    Versions are the newest that fit. So is pip, because older ones download all to resolve it.
    """
    _check(_run([sys.executable, "-m", "venv", str(venv)]))
    install = [str(venv / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "install"]
    _check_or_skip(_run([*install, "--upgrade", "pip>=26"]), "pip")
    words = ["--dry-run", "--ignore-installed", "--report", "-", str(wheel)]
    done = _run([*install, *words], os.environ | {"PIP_CONSTRAINT": os.devnull})
    _check_or_skip(done, "the dependencies", _NO_PACKAGES)
    names = [package["metadata"]["name"] for package in json.loads(done.out)["install"]]
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def code_blocks(language: str, page: str = README) -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def command_lines() -> list[str]:
    """The lines of the shell blocks of the README, then of the tutorials, each once."""
    blocks = [block for page in (README, *TUTORIALS) for block in code_blocks("bash", page)]
    return [*dict.fromkeys(line for block in blocks for line in block.splitlines() if line.strip())]


def _run(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Done:
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=COMMAND_LIMIT_S
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _check_or_skip(done: Done, wanted: str, signs: Sequence[str] = _NO_REGISTRY) -> None:
    if done.status and any(sign in done.err for sign in signs):
        pytest.skip(f"no package registry to fetch {wanted} from: {done.err[-300:]}")
    _check(done)


def _check(done: Done) -> None:
    assert done.status == 0, done.err
