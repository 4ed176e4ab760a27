"""A trained Genie as a folder: config.json and weights, its action map, what is usual, and a card.

JSON, numpy arrays without pickles, and safetensors: loading executes nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from genie_robo.api.loaded import LoadedGenie
from genie_robo.atomic import remove
from genie_robo.fit_trust import NAMES
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.settings import Sampler
from genie_robo.inference.trust import Usual
from genie_robo.inference.world import Actions
from genie_robo.pretrained import CONFIG_FILE, WEIGHTS_FILE, Genie
from genie_robo.run_folder import write_atomic
from genie_robo.stored_files import check_regular, read_json

ACTION_MAP, TRUST_FILE, CARD_FILE = "action_map", "trust.json", "README.md"
TRUST_VERSION = 1
_WEIGHTS = "weights"
"""Key of the digest of the weights that a part belongs to."""


def write_export(folder: Path, genie: LoadedGenie, card: str) -> None:
    """Write a Genie with all that it knows; what an earlier export left is replaced."""
    genie.model.save_pretrained(folder)
    digest = _digest(folder / WEIGHTS_FILE)
    if genie.action_map is None:
        remove(folder / ACTION_MAP)
    else:
        replace(genie.action_map, origin={_WEIGHTS: digest}).save(folder / ACTION_MAP)
    if genie.usual:
        write_atomic(folder / TRUST_FILE, _trust_json(genie, digest))
    else:
        remove(folder / TRUST_FILE)
    write_atomic(folder / CARD_FILE, card)


def is_export(folder: Path) -> bool:
    """Whether a folder is an exported Genie."""
    return (folder / CONFIG_FILE).exists()


def read_export(folder: Path, *, device: torch.device, sampler: Sampler | None) -> LoadedGenie:
    """What `write_export` wrote; exports of earlier versions have no action map and no trust.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, of another version, or belongs to other weights.
    """
    model = Genie.from_pretrained(folder, device)
    sampler, digest = sampler or Sampler(), _digest(folder / WEIGHTS_FILE)
    return LoadedGenie(
        model,
        action_map=_read_action_map(folder / ACTION_MAP, model, digest),
        usual=_read_trust(folder / TRUST_FILE, digest, sampler),
        sampler=sampler,
    )


def _read_action_map(folder: Path, model: Genie, digest: str) -> ActionMap | None:
    if not folder.exists():
        return None
    found = ActionMap.load(folder)
    _check_weights(folder, found.origin, digest)
    sizes = {
        "codes": (len(found.dictionary.robot_actions), model.latent_action.num_codes),
        "numbers in a latent": (len(found.latents.bias), model.latent_action.code_dim),
        "numbers in a robot action": (len(found.latents.centre), model.robot_action_dim),
    }
    for what, (has, wanted) in sizes.items():
        if has != wanted:
            raise ValueError(f"{folder} is for {has} {what}, but the model has {wanted}")
    return found


def _trust_json(genie: LoadedGenie, digest: str) -> str:
    content = {
        "format_version": TRUST_VERSION,
        _WEIGHTS: digest,
        "sampler": genie.sampler.describe(),
        "usual": {NAMES[kind]: usual.numbers for kind, usual in genie.usual.items()},
    }
    return json.dumps(content) + "\n"


def _read_trust(path: Path, digest: str, sampler: Sampler) -> dict[type[Actions], Usual]:
    """What is usual with this sampler; nothing where another one was measured."""
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = read_json(path)
        if content["format_version"] != TRUST_VERSION:
            raise ValueError(f"its format is {content['format_version']}")
        _check_weights(path, content, digest)
        if content["sampler"] != sampler.describe():
            return {}
        kinds = {name: kind for kind, name in NAMES.items()}
        return {kinds[name]: Usual.from_numbers(n) for name, n in content["usual"].items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} cannot be read: {error}. Export the run again") from error


def _check_weights(path: Path, described: Mapping[str, Any], digest: str) -> None:
    if described.get(_WEIGHTS) != digest:
        raise ValueError(
            f"{path} belongs to other weights than {WEIGHTS_FILE} next to it; export the run again"
        )


def _digest(path: Path) -> str:
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
