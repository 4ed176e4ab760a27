"""What a stage begins with."""

from dataclasses import replace

import torch

from genie_robo.build import build_dataset, build_tokenizer
from genie_robo.checkpoint import load_weights
from genie_robo.config import Stage
from genie_robo.run_folder import RunFolder
from genie_robo.train.assemble import build_stage
from genie_robo.train.engine import make_fabric


def test_the_dynamics_begins_with_the_codes_of_its_tokenizer(copy_of_trained):
    config = copy_of_trained(tokenizer_only=True)
    run, dataset = RunFolder.at(config.run), build_dataset(config.data)
    weights = []
    for starts_from_codes in (False, True):
        dynamics = replace(config.model.dynamics, starts_from_codes=starts_from_codes)
        changed = replace(config, model=replace(config.model, dynamics=dynamics))
        torch.manual_seed(0)
        fabric = make_fabric(config.engine)
        stage = build_stage(Stage.world_model, run, changed, {"": dataset}, fabric)
        weights.append(stage.dynamics.to_logits.weight.detach())
    tokenizer = build_tokenizer(config.model, config.data)
    load_weights(run, "tokenizer", tokenizer)

    codes, added = tokenizer.codes().detach(), weights[1] - weights[0]

    assert added.any()
    torch.testing.assert_close(codes @ torch.linalg.lstsq(codes, added).solution, added)
