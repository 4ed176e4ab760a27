"""One tokenizer for several runs: trained once, then copied."""

import logging
from dataclasses import replace

from genie_robo import config as cfg
from genie_robo.commands import train
from genie_robo.run_folder import RunFolder, write_atomic

_log = logging.getLogger(__name__)

_SHAPING = ("data.", "model.tokenizer.", "tokenizer.")
"""Settings that two runs with one tokenizer must share."""


def take_tokenizer(config: cfg.TrainConfig, source: str) -> None:
    """Copy the tokenizer of the run folder `source`, which is first trained there if need be.

    Raises:
        ValueError: The one there was made with other settings.
    """
    from genie_robo.checkpoint import has_weights
    from genie_robo.config_file import read_config

    shared, own = RunFolder.at(source), RunFolder.at(config.run)
    wanted = _tokenizer_alone(config, source)
    if has_weights(shared, "tokenizer"):
        _refuse_another(read_config(shared, cfg.TrainConfig), wanted, source)
        _log.info("taking the tokenizer of %s", source)
    else:
        train.run(wanted)
    for path in (shared.log("tokenizer"), shared.weights("tokenizer", "tokenizer")):
        write_atomic(own.path / path.relative_to(shared.path), path.read_bytes())


def _tokenizer_alone(config: cfg.TrainConfig, source: str) -> cfg.TrainConfig:
    """The settings of a tokenizer, with everything that does not concern it at its default."""
    model = cfg.ModelConfig(tokenizer=config.model.tokenizer, attention=config.model.attention)
    return replace(
        config,
        run=source,
        stage=cfg.Stage.tokenizer,
        model=model,
        world_model=cfg.TrainConfig().world_model,
        labels=cfg.LabelConfig(),
    )


def _refuse_another(found: cfg.TrainConfig, wanted: cfg.TrainConfig, source: str) -> None:
    from genie_robo.config_file import config_differences
    from genie_robo.train.run import FREE_TO_CHANGE

    different = [
        line
        for line in config_differences(found, wanted)
        if line.startswith(_SHAPING) and not line.startswith(FREE_TO_CHANGE)
    ]
    if different:
        raise ValueError(
            f"the tokenizer of {source} was made with other settings ({'; '.join(different)}). "
            "Give the same ones, name another folder with tokenizer_from=FOLDER, or leave "
            "tokenizer_from empty to train one in this run"
        )
