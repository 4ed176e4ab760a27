"""The language instruction, wherever an episode holds it."""

import numpy as np
import pytest
from rlds_files import F, encode_image, grey, open_table, table_episode, write_rlds

from genie_robo.data.rlds import RldsDataset
from genie_robo.data.settings import Source
from genie_robo.inspection.episodes import sample_columns
from genie_robo.inspection.facts import inspect_dataset


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["", "", "open the drawer", ""], "open the drawer"),
        (["", "", "", "stop"], "stop"),
        ([" ", "\n", "take it", "leave it"], "take it"),
        (["first", "", "second", ""], "first"),
        ([""] * 4, ""),
    ],
)
def test_the_first_that_is_given(tmp_path, texts, wanted):
    episode = table_episode(4)
    for step, text in zip(episode["steps"], texts, strict=True):
        step["language_instruction"] = text
    folder = write_rlds(tmp_path, {"train": [[episode]]})
    assert open_table(folder)[0].instruction == wanted
    index = inspect_dataset(folder).index
    assert sample_columns(index).texts["language_instruction"] == [bool(wanted)]


def test_code_points_that_begin_empty(tmp_path):
    """Some datasets store text as zero-padded vectors of code points."""
    step = {
        "image": F.Image(shape=(8, 8, 3), encoding_format="png"),
        "action": F.Tensor(shape=(7,), dtype=np.float32),
        "words": F.Tensor(shape=(6,), dtype=np.int32),
    }
    rows = [[0] * 6, [ord(letter) for letter in "push"] + [0, 0]]
    steps = [
        {
            "image": encode_image(grey(9)),
            "action": np.zeros(7, np.float32),
            "words": np.array(row, np.int32),
        }
        for row in rows
    ]
    features = F.FeaturesDict({"steps": F.Dataset(step)})
    folder = write_rlds(tmp_path, {"train": [[{"steps": steps}]]}, features=features)
    source = Source(camera="image", instruction=("words",))
    assert RldsDataset(folder, source)[0].instruction == "push"
