"""The experiments that compare: what they would run, without running it."""

import itertools
import re
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from genie_robo import config as cfg
from genie_robo.build import build_genie
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.demo import demo_stages
from genie_robo.commands.settings import list_settings
from genie_robo.commands.table import load_command
from genie_robo.comparison.addresses import check_comparison
from genie_robo.config_file import conf_dir

EXPERIMENTS = (
    "ablation_latent_action",
    "ablation_objects",
    "ablation_tokenizer",
    "scaling_batch",
    "scaling_model",
)
VARIANTS = sorted(path.stem for path in (conf_dir() / "variant").glob("*.yaml"))


def swept(experiment: str) -> list[list[str]]:
    """The overrides of every run, as Hydra's sweeper combines them."""
    content = yaml.safe_load((conf_dir() / "experiment" / f"{experiment}.yaml").read_text())
    params = content["hydra"]["sweeper"]["params"]
    choices = [[f"{key}={v.strip()}" for v in text.split(",")] for key, text in params.items()]
    return [list(words) for words in itertools.product(*choices)]


@cache
def demo(*words: str) -> cfg.DemoConfig:
    command = load_command("demo")
    return to_config(command, compose_config(command, words))


RUNS = [(name, words) for name in EXPERIMENTS for words in swept(name)]


def test_experiments_that_name_a_comparison():
    names = [path.stem for path in (conf_dir() / "experiment").glob("*.yaml")]
    found = [name for name in names if demo(f"experiment={name}").comparison.folder]
    assert tuple(sorted(found)) == EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_has_a_folder_of_its_own_and_shares_the_dataset(name):
    runs = [demo(f"experiment={name}", *words, "seed=2") for words in swept(name)]

    assert len({run.run for run in runs}) == len(runs) >= 3
    assert {Path(run.run).parent for run in runs} == {Path("runs") / name}
    assert all(run.run.endswith(f"/{run.comparison.variant}-seed2") for run in runs)
    assert {run.data.path for run in runs} == {f"runs/{name}/dataset"}
    assert {(run.record.path, run.record.seed) for run in runs} == {(f"runs/{name}/dataset", 0)}
    for run in runs:
        comparison = run.comparison
        check_comparison(comparison.columns, comparison.horizontal, comparison.curve)


@pytest.mark.parametrize(("name", "words"), RUNS, ids=lambda part: str(part))
def test_every_variant_builds(name, words):
    config = demo(f"experiment={name}", *words)
    train = cfg.TrainConfig(model=config.model, data=config.data)
    with torch.device("meta"):
        assert sum(1 for _ in build_genie(train).parameters()) > 10


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_called_as_its_file(name):
    assert demo(f"variant={name}").comparison.variant == name


def test_one_variant_of_latent_actions_changes_one_thing():
    default = demo("experiment=ablation_latent_action", "variant=default")
    for (word,) in swept("ablation_latent_action"):
        other = demo("experiment=ablation_latent_action", word)
        assert other.tokenizer_from == default.tokenizer_from
        assert other.world_model == default.world_model
        is_default = (other.model, other.latent_action_labels) == (
            default.model,
            default.latent_action_labels,
        )
        assert is_default == (word == "variant=default")


def test_scaling_grows():
    sizes = []
    for (word,) in swept("scaling_model"):
        config = demo("experiment=scaling_model", word)
        with torch.device("meta"):
            genie = build_genie(cfg.TrainConfig(model=config.model, data=config.data))
        sizes.append(sum(p.numel() for p in genie.dynamics.parameters()))
    assert len(sizes) >= 4
    assert sizes == sorted(sizes)
    assert sizes[-1] > 20 * sizes[0]


def test_upper_bound_is_only_trained():
    words = ("experiment=ablation_latent_action", "variant=robot_actions")
    names = [stage.name for stage in demo_stages(demo(*words))]
    assert names == ["record", "tokenizer", "world_model", "report"]


def test_page_on_experiments_names_them_and_its_example_is_one():
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    for name in EXPERIMENTS:
        assert f"genie-robo demo -m experiment={name}\n" in page
    (row,) = re.findall(r"\| `ablation_latent_action` \| (.*?) \|", page)
    variants = [word.removeprefix("variant=") for (word,) in swept("ablation_latent_action")]
    assert [v for v in variants if v not in row] == []

    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])
    comparison = cfg.ComparisonConfig(**example["comparison"])
    check_comparison(comparison.columns, comparison.horizontal, comparison.curve)
    fields = {setting.path for setting in list_settings(cfg.DemoConfig)}
    assert set(example) - fields == {"defaults", "hydra"}
    assert set(example["hydra"]["sweeper"]["params"]) <= fields


def test_sizes_of_the_demo_have_run_folders_of_their_own():
    sizes = ("default", "smoke", "long")
    found = [demo(f"experiment={size}") for size in sizes]
    assert [config.run for config in found] == ["runs/demo", "runs/smoke", "runs/long"]
    assert [config.imagine.run for config in found] == [config.run for config in found]
    assert demo("experiment=smoke", "run=elsewhere").run == "elsewhere"
    joined = demo("experiment=[ablation_tokenizer,smoke]").run
    assert joined == demo("experiment=ablation_tokenizer").run


def test_experiments_may_be_joined():
    toy = demo("experiment=[scaling_model,smoke]", "variant=dynamics_64")
    assert (toy.tokenizer.num_steps, toy.record.num_episodes) == (40, 12)
    assert toy.model.dynamics.transformer.dim == 64
    assert toy.run == "runs/scaling_model/dynamics_64-seed0"
