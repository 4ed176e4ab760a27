"""Which of the files in conf/data/ describe a dataset."""

from collections.abc import Mapping
from functools import cache

from omegaconf import OmegaConf

from genie_robo.build import build_source
from genie_robo.config import SourceConfig
from genie_robo.config_file import conf_dir
from genie_robo.data.sources import Feature, Source, check_source


@cache
def known_sources() -> Mapping[str, Source]:
    """Every dataset that has a file in conf/data/ naming its keys."""
    found = {}
    for path in sorted((conf_dir() / "data").glob("*.yaml")):
        given = OmegaConf.select(OmegaConf.load(path), "source", default={})
        merged = OmegaConf.merge(OmegaConf.structured(SourceConfig), given)
        if not OmegaConf.missing_keys(merged):
            config = OmegaConf.to_object(merged)
            assert isinstance(config, SourceConfig)
            found[path.stem] = build_source(config)
    return found


def fitting_sources(name: str, features: Mapping[str, Feature]) -> list[str]:
    """Names of the known sources whose keys are all there.

    Only the one with the dataset's own name when it fits: keys such as `action` are so common that
    the fit of another says little.
    """
    fits = [known for known, source in known_sources().items() if not misfit(source, features)]
    return [name] if name in fits else fits


def misfit(source: Source, features: Mapping[str, Feature]) -> str:
    """Why a source cannot read a dataset; empty when it can."""
    try:
        check_source(source, features)
    except (KeyError, ValueError) as error:
        return str(error.args[0])
    return ""
