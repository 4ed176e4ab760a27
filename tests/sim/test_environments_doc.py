"""The code of docs/environments.md runs, in its order."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from genie_robo.pretrained import Genie
from tests.models.conftest import toy_config

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_code_on_the_page_runs(prompt, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Genie(toy_config()).save_pretrained("exported/my_robot")
    Image.fromarray(prompt).save("prompt.png")
    names: dict[str, Any] = {}
    for block in BLOCKS[:-1]:
        exec(block, names)
    assert len(BLOCKS) == 4
    assert names["obs"]["pixels"].shape == (4, *prompt.shape)
    code, uncertainty = capsys.readouterr().out.split()
    assert code in {"0", "1"}
    assert float(uncertainty) > 0


def test_the_learner_on_the_page_runs():
    pytest.importorskip("stable_baselines3")
    import gymnasium

    table = gymnasium.make("genie_robo.sim:Genie/Tabletop-v0", task="reach")
    names: dict[str, Any] = {"table": table}
    exec(BLOCKS[-1], names)
    assert names["model"].num_timesteps == 64
