"""Configurations that earlier versions stored open with the meaning that they had."""

import pytest
import yaml

from genie_robo.config import DataConfig, ModelConfig, Source, Target, TrainConfig
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


def test_models_of_before_skip_copy_and_weigh_nothing(tmp_path):
    run = RunFolder(tmp_path)
    write_config(run, TrainConfig(run="r"))
    stored = yaml.safe_load(run.config.read_text())
    stored["data"]["path"] = stored["data"]["source"]["camera"] = "x"
    tokenizer, dynamics = (stored["model"][part] for part in ("tokenizer", "dynamics"))
    assert tokenizer.pop("skips")
    assert tokenizer.pop("colour_weight")
    assert dynamics.pop("copies")
    run.config.write_text(yaml.safe_dump(stored))

    model = read_config(run, TrainConfig).model

    assert not model.tokenizer.skips
    assert model.tokenizer.colour_weight == 0
    assert not model.dynamics.copies


@pytest.mark.parametrize("text", ["${oc.env:SECRET}", "a\\${seed}", "\\\\${seed}", "1e3", "true"])
def test_text_is_read_back_as_it_was_written(tmp_path, monkeypatch, text):
    monkeypatch.setenv("SECRET", "never read")
    run = RunFolder(tmp_path)
    data = DataConfig(path="/nowhere", source=Source(camera=text))
    write_config(run, TrainConfig(run=str(tmp_path), viewer=text, data=data))
    found = read_config(run, TrainConfig)
    assert (found.viewer, found.data.source.camera) == (text, text)


@pytest.mark.parametrize("name", ["path", "frame_stride"])
def test_a_stored_configuration_reads_no_environment_variable(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SECRET", "7777")
    run = RunFolder(tmp_path)
    data = DataConfig(path="/nowhere", source=Source(camera="x"))
    write_config(run, TrainConfig(run=str(tmp_path), data=data))
    stored = yaml.safe_load(run.config.read_text())
    stored["data"][name] = "${oc.env:SECRET}"
    run.config.write_text(yaml.safe_dump(stored))
    try:
        text = str(read_config(run, TrainConfig))
    except ValueError as error:
        text = str(error)
    assert "oc.env:SECRET" in text
    assert "7777" not in text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.tokenizer.encoder.num_heads", 0),
        ("model.tokenizer.decoder.num_blocks", 10**9),
        ("model.dynamics.transformer.dim", -1),
        ("model.tokenizer.quantizer.num_codes", 0),
        ("model.latent_action.downscale", 0),
        ("model.dynamics.transformer.ff_multiplier", float("nan")),
        ("data.image_height", 10**9),
        ("data.image_width", -64),
        ("world_model.num_frames", 0),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path, path, value):
    run = RunFolder(tmp_path)
    data = DataConfig(path="/nowhere", source=Source(camera="x"))
    write_config(run, TrainConfig(run=str(tmp_path), data=data))
    stored = yaml.safe_load(run.config.read_text())
    *sections, name = path.split(".")
    section = stored
    for each in sections:
        section = section[each]
    section[name] = value
    run.config.write_text(yaml.safe_dump(stored))
    with pytest.raises(ValueError, match=rf"{path}={value} must be (from .* to|at least) "):
        read_config(run, TrainConfig)


@pytest.mark.parametrize("text", ["- 1", "a: [", "run: ${"])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="does not describe a TrainConfig"):
        read_config(RunFolder(tmp_path), TrainConfig)
