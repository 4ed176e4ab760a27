"""A Genie saved to a folder and loaded back."""

import json
import subprocess
import sys

import pytest
import torch

import genie_robo
from genie_robo.config import (
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
