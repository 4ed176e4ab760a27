"""The paper's latent action model has one definition, at two sizes."""

import yaml

from genie_robo.config_file import conf_dir

SIZES = ("downscale", "patch_size", "encoder", "decoder")
AT_DEFAULT = {"num_codes": 8, "entropy_weight": 0}
"""Values of the paper that equal our defaults, which the variant need not repeat."""


def test_the_variant_and_the_preset_agree():
    variant = yaml.safe_load((conf_dir() / "variant" / "paper_lam.yaml").read_text())
    preset = yaml.safe_load((conf_dir() / "model" / "paper.yaml").read_text())["latent_action"]
    found = variant["model"]["latent_action"]
    found["quantizer"] = AT_DEFAULT | found["quantizer"]
    assert found == {key: value for key, value in preset.items() if key not in SIZES}
