"""The presets of conf/model against the sizes that the paper gives (arXiv 2402.15391)."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from genie_robo.build import build_dynamics, build_genie, build_latent_action, build_tokenizer
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.config_file import conf_dir

PAPER_MAP = Path(__file__).parents[2] / "docs" / "paper_map.md"

PAPER = {
    ("paper", "tokenizer"): 200e6,
    ("paper", "latent_action"): 300e6,
    ("paper", "dynamics"): 10.1e9,
    ("scale_41m", "dynamics"): 41e6,
    ("scale_96m", "dynamics"): 96e6,
    ("scale_192m", "dynamics"): 192e6,
    ("scale_404m", "dynamics"): 404e6,
    ("scale_811m", "dynamics"): 811e6,
    ("scale_1b6", "dynamics"): 1.6e9,
    ("scale_2b3", "dynamics"): 2.3e9,
    ("scale_2b7", "dynamics"): 2.7e9,
    ("scale_10b1", "dynamics"): 10.1e9,
    ("robotics_1b", "tokenizer + dynamics"): 1e9,
    ("robotics_2b5", "tokenizer + dynamics"): 2.5e9,
}
TOLERANCE = {"latent_action": 0.15}

WITHOUT_PAPER = [
    ("coinrun", "tokenizer"),
    ("coinrun", "latent_action"),
    ("coinrun", "dynamics"),
]


def compose(*overrides):
    command = load_command("train")
    return to_config(command, compose_config(command, ["run=r", "data.path=d", *overrides]))


@cache
def sizes(*overrides):
    """Parameters of every part, built without memory for them."""
    config = compose(*overrides)
    with torch.device("meta"):
        tokenizer = build_tokenizer(config.model, config.data)
        latent_action = build_latent_action(config.model, config.data, tokenizer)
        parts = {
            "tokenizer": tokenizer,
            "latent_action": latent_action,
            "dynamics": build_dynamics(config.model, tokenizer, latent_action),
        }
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return counts | {"tokenizer + dynamics": counts["tokenizer"] + counts["dynamics"]}


@pytest.mark.parametrize(("preset", "part"), PAPER, ids=lambda word: word.replace(" ", ""))
def test_preset_has_the_size_that_the_paper_gives(preset, part):
    paper = PAPER[preset, part]

    assert abs(sizes(f"model={preset}")[part] / paper - 1) < TOLERANCE.get(part, 0.08)


def test_every_preset_is_measured():
    presets = {path.stem for path in (conf_dir() / "model").glob("*.yaml")}

    assert {preset for preset, _ in [*PAPER, *WITHOUT_PAPER]} == presets - {"tiny", "real_video"}


def test_table_in_the_paper_map_is_what_is_built():
    written = re.findall(
        r"^\| `(\w+)` \| ([\w +]+) \| ([\d.]+[MB]|-) \| ([\d,]+M) \| ([+-]\d+\.\d %|-) \|$",
        PAPER_MAP.read_text(),
        re.MULTILINE,
    )

    built = []
    for preset, part in [*PAPER, *WITHOUT_PAPER]:
        count, paper = sizes(f"model={preset}")[part], PAPER.get((preset, part))
        off = f"{100 * (count / paper - 1):+.1f} %" if paper else "-"
        built.append((preset, part, described(paper), f"{count / 1e6:,.0f}M", off))
    assert written == built


def described(paper):
    if paper is None:
        return "-"
    return f"{paper / 1e9:g}B" if paper >= 1e9 else f"{paper / 1e6:g}M"


def test_all_of_the_paper_is_its_total():
    counts = sizes("model=paper")
    total = counts["tokenizer"] + counts["latent_action"] + counts["dynamics"]

    assert abs(total / 10.7e9 - 1) < 0.08


def test_a_listed_layer_may_be_a_whole_block():
    blocks = "model.dynamics.transformer.num_blocks=18"

    assert abs(sizes("model=scale_41m", blocks)["dynamics"] / 75e6 - 1) < 0.03


def test_row_of_2b3_needs_its_wide_feed_forward():
    narrow = sizes("model=scale_2b3", "model.dynamics.transformer.ff_multiplier=4")["dynamics"]

    assert abs(narrow / 1.8e9 - 1) < 0.02


def test_kinds_of_the_tokenizer_are_as_large_at_the_size_of_the_paper():
    counts = [
        sizes("model=paper", f"model.tokenizer.kind={kind}")["tokenizer"]
        for kind in ("st_vivit", "vit", "c_vivit")
    ]

    assert max(counts) < 1.01 * min(counts)


def test_case_study_of_the_paper_map_composes():
    page = PAPER_MAP.read_text().replace("\\\n", "")
    (line,) = re.findall(r"^genie-robo train (.*model=coinrun.*)$", page, re.MULTILINE)
    built = compose(*line.split())

    assert (built.tokenizer.num_steps, built.tokenizer.batch_size) == (300_000, 48)
    assert built.tokenizer.num_frames == built.world_model.num_frames == 16
    assert (built.world_model.num_steps, built.world_model.batch_size) == (200_000, 36)
    tokenizer, world_model = built.tokenizer.optim, built.world_model.optim
    assert (tokenizer.learning_rate, tokenizer.final_learning_rate) == (3e-4, 3e-4)
    assert (world_model.learning_rate, world_model.final_learning_rate) == (3e-5, 3e-6)
    assert (tokenizer.warmup_steps, world_model.warmup_steps) == (10_000, 5_000)
    for optim in (tokenizer, world_model):
        assert (optim.beta1, optim.beta2, optim.weight_decay) == (0.9, 0.9, 1e-4)


@pytest.mark.parametrize("part", ["tokenizer.encoder", "tokenizer.decoder", "dynamics.transformer"])
def test_build_refuses_a_head_dimension_without_a_kernel(part):
    config = compose(f"model.{part}.head_dim=12", "model.attention=xformers")

    with pytest.raises(ValueError, match=r"head_dim=12 does not fit.*8, 16, 32"):
        build_genie(config)
