"""A Genie saved to a folder and loaded back."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import genie_robo
from genie_robo.config import (
    ActionSource,
    Backend,
    DataConfig,
    DynamicsConfig,
    LatentActionConfig,
    ModelConfig,
    QuantizerConfig,
    StageConfig,
    TokenizerConfig,
    TrainConfig,
    TransformerConfig,
)
from genie_robo.pretrained import Genie


@pytest.fixture
def genie():
    stack = TransformerConfig(num_blocks=1, dim=16, num_heads=2, head_dim=8)
    codes = QuantizerConfig(num_codes=16, code_dim=4)
    config = TrainConfig(
        run="",
        data=DataConfig(image_height=32, image_width=48),
        model=ModelConfig(
            tokenizer=TokenizerConfig(encoder=stack, decoder=stack, quantizer=codes),
            latent_action=LatentActionConfig(downscale=2, encoder=stack, decoder=stack),
            dynamics=DynamicsConfig(transformer=stack),
            attention=Backend.sdpa,
        ),
        world_model=StageConfig(num_frames=5),
    )
    torch.manual_seed(3)
    return Genie(config).eval()


@pytest.fixture
def named(genie):
    """The same with two joints that have names."""
    action = ActionSource(joints="action[7:9]", joint_names=("waist", "elbow"))
    source = replace(genie.config.data.source, action=action)
    config = replace(genie.config, data=replace(genie.config.data, source=source))
    return Genie(config).eval()


def test_names_of_joints_are_saved(named, tmp_path):
    named.save_pretrained(tmp_path)
    assert named.action_names[6:] == ("gripper", "waist", "elbow")
    assert Genie.from_pretrained(tmp_path).action_names == named.action_names


@pytest.mark.parametrize("names", ["waist", [1] * 9, ["waist"] * 8, {"waist": 1}])
def test_damaged_names_of_joints_are_refused(named, tmp_path, names):
    named.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(described | {"robot_action_names": names}))
    with pytest.raises(ValueError, match="Export it again"):
        Genie.from_pretrained(tmp_path)


def test_saved_and_loaded_it_computes_the_same(genie, tmp_path):
    genie.save_pretrained(tmp_path / "mine")
    loaded = genie_robo.Genie.from_pretrained(str(tmp_path / "mine"))
    video = torch.rand(2, 5, 32, 48, 3)

    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    assert loaded.config.model == genie.config.model
    assert (loaded.num_frames, loaded.training) == (5, False)
    assert torch.equal(loaded.tokenizer.encode(video), genie.tokenizer.encode(video))
    found, expected = loaded.infer_actions(video), genie.infer_actions(video)
    assert torch.equal(found.continuous, expected.continuous)
    for name, tensor in genie.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(genie, tmp_path, name):
    genie.save_pretrained(tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(FileNotFoundError, match=f"{name} is missing.*genie-robo export"):
        Genie.from_pretrained(tmp_path)


def test_damaged_weights_are_named(genie, tmp_path):
    genie.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(ValueError, match=r"model\.safetensors does not load.*Export it again"):
        Genie.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 7}, "format version 7"),
        ({"model_type": "bert"}, "a bert"),
        ({"image_height": None}, "does not describe a Genie"),
        ({"model": {"attention": "magic"}}, "does not describe a Genie"),
        ({"model": {"no_such_part": 1}}, "no_such_part"),
    ],
)
def test_another_description_is_refused(genie, tmp_path, change, reason):
    genie.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(ValueError, match=reason):
        Genie.from_pretrained(tmp_path)


def test_importing_the_package_imports_no_torch():
    code = "import sys, genie_robo; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.tokenizer.quantizer.num_codes", 0),
        ("model.tokenizer.encoder.num_heads", 0),
        ("model.dynamics.transformer.num_blocks", 10**9),
        ("model.latent_action.encoder.dim", -16),
        ("model.tokenizer.patch_size", 0),
        ("image_height", 0),
        ("image_width", 10**12),
        ("num_frames", -5),
    ],
)
def test_numbers_out_of_range_are_named_before_memory_is_taken(genie, tmp_path, path, value):
    genie.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    *sections, name = path.split(".")
    section = described
    for each in sections:
        section = section[each]
    section[name] = value
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=rf"{name}={value} must be (from|at least) "):
        Genie.from_pretrained(tmp_path)


def test_a_model_larger_than_its_weights_is_never_built(genie, tmp_path):
    """60,000 x 240,000 numbers per layer would be 58 GB."""
    genie.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    described["model"]["dynamics"]["transformer"] |= {"dim": 60_000, "num_blocks": 20}
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(
        ValueError, match=r"dynamics\..* is F32 .*16.* in the file, but F32 .*60000"
    ):
        Genie.from_pretrained(tmp_path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(genie, tmp_path, number):
    genie.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in sorted(weights) if name.startswith("dynamics."))
    weights[name].view(-1)[:2] = number
    save_file(weights, path)
    with pytest.raises(
        ValueError, match=rf"2 of {weights[name].numel()} numbers of {name} are not"
    ):
        Genie.from_pretrained(tmp_path)


def test_weights_of_another_type_or_shape_are_named(genie, tmp_path):
    genie.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if weights[name].ndim == 2)
    for changed, found in ((weights[name].half(), "F16"), (weights[name][1:], "F32")):
        save_file(weights | {name: changed.contiguous()}, path)
        with pytest.raises(ValueError, match=rf"{name} is {found} .* in the file, but F32"):
            Genie.from_pretrained(tmp_path)
