from dataclasses import fields
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from genie_robo.commands.suite_settings import settings_class
from genie_robo.config.sim import MENAGERIE_ROBOTS
from genie_robo.eval_suites import settings
from genie_robo.eval_suites.base import EvalSuite
from genie_robo.eval_suites.plug_names import ENCODER_NAMES, GENIE, WORLD_NAMES
from genie_robo.eval_suites.plugs import ENCODERS, WORLDS
from genie_robo.eval_suites.selfcheck import SelfCheck
from genie_robo.eval_suites.simulated.panel import CLONED, SCRIPTED
from genie_robo.eval_suites.speed import PARTS
from genie_robo.eval_suites.trust import CASES
from genie_robo.sim.robots import MENAGERIE

FOLDER = Path(__file__).parents[2] / "conf" / "suite"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_suite_is_its_class_with_the_defaults(path):
    config = OmegaConf.load(path)
    suite = instantiate(config)
    assert isinstance(suite, EvalSuite)
    assert suite.name == path.stem
    assert f"# @package suite.{path.stem}" in path.read_text()
    # Defaults stand in the class only.
    assert suite == type(suite)()
    assert set(config) == {"_target_"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_suite_has_its_settings_in_one_place(path):
    config = OmegaConf.load(path)
    suite, found = type(instantiate(config)), settings_class(config["_target_"])
    assert issubclass(suite, found)
    assert [item.name for item in fields(suite)] == [item.name for item in fields(found)]
    assert (found is suite) == (suite is SelfCheck)


def test_what_is_known_by_name_is_there():
    assert (GENIE, *WORLDS) == WORLD_NAMES
    assert (GENIE, *ENCODERS) == ENCODER_NAMES
    assert tuple(CASES) == settings.TRUST_CASES
    assert tuple(PARTS) == settings.SPEED_PARTS
    assert set(settings.PANEL) == {*SCRIPTED, *CLONED}
    assert tuple(MENAGERIE) == MENAGERIE_ROBOTS


def test_there_is_a_file_for_every_suite():
    names = {"tokenizer", "latent_probe", "controllability", "sim_rollout"}
    assert {path.stem for path in FOLDER.glob("*.yaml")} >= names
