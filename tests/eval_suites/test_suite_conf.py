from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from genie_robo.eval_suites.base import EvalSuite

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


def test_there_is_a_file_for_every_suite():
    names = {"tokenizer", "latent_probe", "controllability", "sim_rollout"}
    assert {path.stem for path in FOLDER.glob("*.yaml")} >= names
