"""What a wheel ships, and that it works without the repository around it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from genie_robo import config_file

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
WORKFLOWS = sorted((REPOSITORY / ".github/workflows").iterdir())

CART = '''
from dataclasses import dataclass
from genie_robo.commands.command import Command

@dataclass
class Settings:
    steps: int = 1
    """How far it goes."""

COMMAND = Command(name="cart", summary="drive a cart", config=Settings, run="drive:run")
'''
"""A module of another package."""


@pytest.fixture
def unpacked(tmp_path) -> Path:
    """The folders of a wheel, laid out as pyproject.toml says."""
    site = tmp_path / "site"
    no_caches = shutil.ignore_patterns("__pycache__")
    for package in WHEEL["packages"]:
        shutil.copytree(REPOSITORY / package, site / package, ignore=no_caches)
    for source, target in WHEEL["force-include"].items():
        shutil.copytree(REPOSITORY / source, site / target)
    return site


def test_wheel_finds_its_own_yaml_files(unpacked, tmp_path):
    probe = (
        "from genie_robo.config_file import conf_dir; from genie_robo.cli import main; "
        "import sys; sys.stderr.write(str(conf_dir())); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, "demo", "--cfg", "experiment=smoke"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, str(unpacked / "genie_robo" / "conf"))
    assert "num_episodes: 12" in done.stdout


def test_a_wheel_claims_no_name_but_its_own(unpacked):
    assert [path.name for path in unpacked.iterdir()] == ["genie_robo"]
    assert (unpacked / "genie_robo/eval_suites/table.py").is_file()
    assert (unpacked / "genie_robo/viz/rollout.py").is_file()


def test_the_description_on_a_package_index_stands_by_itself():
    page = PROJECT["project"]["readme"]
    text = (REPOSITORY / page).read_text()
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []
    assert "![" not in text
    assert "<img" not in text
    assert "pip install genie_robo\n" in text
    assert 15 <= len(text.splitlines()) <= 25
    assert (
        Path(page).name in yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["exclude_docs"]
    )


def test_repository_uses_its_own_yaml_files():
    assert config_file.conf_dir() == REPOSITORY / "conf"


def test_broken_installation_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(config_file, "__file__", str(tmp_path / "site" / "genie_robo" / "x.py"))
    with pytest.raises(FileNotFoundError, match=r"holds demo\.yaml; install the package again"):
        config_file.conf_dir()


def test_a_package_adds_a_command_by_an_entry_point(tmp_path):
    """As pyproject.toml of another package would declare it; the working module is not imported."""
    (tmp_path / "cart.py").write_text(CART)
    (tmp_path / "drive.py").write_text("def run(config):\n    print(f'driven {config.steps}')\n")
    metadata = tmp_path / "cart-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cart\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[genie_robo.commands]\ncart = cart:COMMAND\n")

    def run(*words):
        path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
        command = [sys.executable, "-m", "genie_robo", *words]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert "drive a cart" in run("--help").stdout
    assert "How far it goes." in run("cart", "--help").stdout
    assert run("cart", "steps=3").stdout == "driven 3\n"
    assert "cart has no setting 'step'. Did you mean steps?" in run("cart", "step=3").stderr


def test_every_dependency_is_pinned_and_constraints_name_no_host():
    constraints = (REPOSITORY / "constraints.txt").read_text()
    assert "://" not in constraints
    pinned = {line.split("==")[0].lower() for line in constraints.splitlines() if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(name for extra in extras for name in extra)]
    names = {name.split(";")[0].split(">")[0].split("[")[0].split("=")[0] for name in wanted}
    assert {name.strip().lower() for name in names} <= pinned


def test_the_citation_names_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]


def test_the_workflow_tests_every_python_that_is_supported():
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/tests.yml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    listed = [f"Programming Language :: Python :: {version}" for version in versions]
    assert set(listed) <= set(PROJECT["project"]["classifiers"])
    assert len(listed) == 3


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_of_a_workflow_have_a_machine_and_steps_that_do_one_thing(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow[True], "`on`, which YAML reads as true"
    assert workflow["jobs"]
    for name, job in workflow["jobs"].items():
        assert job["runs-on"], name
        assert job["steps"], name
        for step in job["steps"]:
            assert len({"uses", "run"} & step.keys()) == 1, (name, step)
            assert step.keys() <= {"uses", "run", "with", "name", "env", "if", "id"}, (name, step)
            assert "run" in step or re.fullmatch(r"[\w./-]+@\S+", step["uses"]), (name, step)
        matrix = job.get("strategy", {}).get("matrix", {})
        used = re.findall(r"\$\{\{ *matrix\.(\w+) *\}\}", yaml.safe_dump(job))
        assert set(used) == matrix.keys(), name


def test_workflows_make_targets_that_exist():
    rules = re.findall(
        r"^([a-z][\w -]*):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE
    )
    targets = {target for rule in rules for target in rule.split()}
    jobs = [job for w in WORKFLOWS for job in yaml.safe_load(w.read_text())["jobs"].values()]
    lines = [step.get("run", "") for job in jobs for step in job["steps"]]
    wanted = {word for line in lines for word in re.findall(r"\bmake ([\w-]+)", line)}
    assert {"test", "test-slow", "check"} <= wanted <= targets
