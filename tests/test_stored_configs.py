"""Configurations that earlier versions stored open with the meaning that they had."""

import pytest
import yaml

from genie_robo.config import ModelConfig, Target, TrainConfig
from genie_robo.config_file import from_plain, read_config, write_config
from genie_robo.run_folder import RunFolder

OPEN = {"sees_flow": None, "target": None, "flow": None, "decoder_sees_code": None}


def latent_action(**stored):
    model = from_plain(ModelConfig, {"latent_action": OPEN | {"jacobian": False} | stored})
    found = model.latent_action
    return found.target, found.flow, found.sees_flow, found.decoder_sees_code


def test_what_was_null_is_what_followed_from_the_target():
    assert latent_action() == (Target.change, True, True, False)
    assert latent_action(target="frame") == (Target.frame, False, False, True)
    assert latent_action(input="tokens") == (Target.frame, False, False, True)


def test_what_was_given_stays():
    assert latent_action(flow=False) == (Target.change, False, True, True)
    assert latent_action(decoder_sees_code=True) == (Target.change, True, True, True)


def test_a_jacobian_cannot_be_built_any_more():
    with pytest.raises(ValueError, match="jacobian=true is not supported any more"):
        latent_action(jacobian=True)


def test_a_run_of_before_differs_in_nothing_from_one_of_today(tmp_path):
    run = RunFolder(tmp_path)
    write_config(run, TrainConfig(run="r"))
    stored = yaml.safe_load(run.config.read_text())
    stored["data"]["path"] = stored["data"]["source"]["camera"] = "x"
    stored["model"]["latent_action"] |= OPEN | {"jacobian": False}
    run.config.write_text(yaml.safe_dump(stored))

    assert read_config(run, TrainConfig).model == TrainConfig(run="r").model
