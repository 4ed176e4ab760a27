"""Training states on disk: what is kept, and what each kind of damage says."""

import json
import pickle
import shutil
from pathlib import Path
from threading import Event

import pytest
import torch
from lightning_fabric import Fabric

from genie_robo.train.checkpoints import Checkpoints, _checksum

GO_ON = "Delete that folder to go on from the checkpoint before it"


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def tensors(value: float = 0.0, **changes) -> dict[str, torch.Tensor]:
    shapes = {"matrix": (3, 4), "vector": (5,), **changes}
    return {name: torch.full(shape, value) for name, shape in shapes.items()} | {
        "count": torch.tensor(int(value))
    }


@pytest.fixture
def checkpoints(tmp_path):
    fabric = Fabric(accelerator="cpu", devices=1)
    return Checkpoints(tmp_path / "checkpoints", fabric, num_kept=2)


@pytest.fixture
def saved(checkpoints):
    checkpoints.save(7, tensors(7.0), {"loader": {"position": 14}})
    checkpoints.wait()
    return checkpoints


def shard_of(checkpoints, step=7) -> Path:
    (path,) = (checkpoints.folder / f"step_{step:08d}").glob("*.safetensors")
    return path


def edit_state(checkpoints, **changes) -> None:
    path = checkpoints.folder / "step_00000007" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_saved_comes_back(saved):
    found = tensors()

    state = saved.load(7, found)

    assert state["step"] == 7
    assert state["loader"] == {"position": 14}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors(7.0).items())


def test_the_newest_and_the_best_are_kept(checkpoints):
    for step, score in ((1, 0.5), (2, 0.2), (3, None), (4, 0.3), (5, 0.2), (6, None)):
        checkpoints.save(step, tensors(step), {}, score=score)

    assert checkpoints.steps == [2, 5, 6]
    assert checkpoints.best == {"step": 2, "score": 0.2}


@pytest.mark.parametrize("name", ["step_00000007.bak", "step_", "step_final", "step_7"])
def test_folders_with_other_names_are_the_users(saved, name):
    shutil.copytree(saved.folder / "step_00000007", saved.folder / name)
    (saved.folder / "step_00000009").touch()

    assert saved.steps == [7]
    for step in (8, 9, 10):
        saved.save(step, tensors(step), {})

    assert saved.steps == [9, 10]
    assert (saved.folder / name / "state.json").exists()


def test_no_checkpoints_cannot_be_asked_for(tmp_path):
    with pytest.raises(ValueError, match="num_checkpoints=0 must be at least 1"):
        Checkpoints(tmp_path, Fabric(accelerator="cpu", devices=1), num_kept=0)


def test_a_state_cut_short_while_it_was_written_is_ignored_and_removed(saved):
    partial = saved.folder / ".step_00000009.partial"
    partial.mkdir()
    (partial / "state.json").write_text("{")
    assert saved.steps == [7]

    saved.save(8, tensors(8.0), {})

    assert saved.steps == [7, 8]
    assert not partial.exists()


def test_training_goes_on_while_a_state_is_written(saved, monkeypatch):
    """What is changed meanwhile is not what is written."""
    may_write, checksum = Event(), _checksum
    monkeypatch.setattr(
        "genie_robo.train.checkpoints._checksum", lambda path: may_write.wait(9) and checksum(path)
    )
    state = tensors(8.0)

    saved.save(8, state, {})
    state["vector"].zero_()
    found = [path.name for path in saved.folder.glob("step_*")]
    may_write.set()

    assert found == ["step_00000007"]
    assert saved.steps == [7, 8]
    restored = tensors()
    saved.load(8, restored)
    assert torch.equal(restored["vector"], torch.full((5,), 8.0))


def test_a_failed_save_leaves_the_state_of_before(saved, monkeypatch):
    def full(_path):
        raise OSError("no space left on device")

    monkeypatch.setattr("genie_robo.train.checkpoints._checksum", full)
    saved.save(8, tensors(8.0), {})
    with pytest.raises(OSError, match="no space left"):
        saved.wait()
    monkeypatch.undo()

    assert saved.steps == [7]
    assert saved.load(7, tensors())["step"] == 7


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_wrong_byte_is_found(saved, place):
    path = shard_of(saved)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)

    with pytest.raises(ValueError, match=rf"{path.name} is damaged. {GO_ON}"):
        saved.load(7, tensors())


def test_a_shard_cut_short_missing_or_added_is_found(saved):
    path = shard_of(saved)
    added = path.with_name("shard-00002-model-00001-of-00001.safetensors")
    added.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=rf"{added.name} is damaged. {GO_ON}"):
        saved.load(7, tensors())
    added.unlink()
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=rf"{path.name} is damaged. {GO_ON}"):
        saved.load(7, tensors())
    path.unlink()
    with pytest.raises(ValueError, match=rf"{path.name} is missing. {GO_ON}"):
        saved.load(7, tensors())


@pytest.mark.parametrize("content", [b"", b'{"format_version": 2', b"[2]", b"{}", b"\xff\x00"])
def test_a_damaged_state_file_is_named(saved, content):
    path = saved.folder / "step_00000007" / "state.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"step_00000007 cannot be read .*state.json.*{GO_ON}"):
        saved.load(7, tensors())
    path.unlink()
    with pytest.raises(ValueError, match=rf"FileNotFoundError: state.json.*{GO_ON}"):
        saved.load(7, tensors())


@pytest.mark.parametrize("change", [{"step": 8}, {"loader": {"position": 15}}, {"checksums": {}}])
def test_a_state_file_that_says_something_else_is_found(saved, change):
    edit_state(saved, **change)
    with pytest.raises(ValueError, match=rf"is damaged: state.json. {GO_ON}"):
        saved.load(7, tensors())


def test_another_format_version_is_refused(saved):
    edit_state(saved, format_version=99)
    with pytest.raises(ValueError, match=r"format version 99, .* reads version 2; train into anot"):
        saved.load(7, tensors())


@pytest.mark.parametrize("name", ["shard", "state.json"])
def test_loading_executes_no_code(saved, tmp_path, name):
    """Also not where the checksums are made to fit."""
    trace = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(trace))
    pickle.loads(bomb)
    assert trace.exists()
    trace.unlink()
    shard = shard_of(saved)
    path = shard if name == "shard" else shard.with_name(name)
    path.write_bytes(bomb)
    with pytest.raises(ValueError, match=r"is damaged|cannot be read"):
        saved.load(7, tensors())
    if name == "shard":
        saved._read_state = lambda folder: {}
        with pytest.raises(ValueError, match="does not fit this model"):
            saved.load(7, tensors())
    assert not trace.exists()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"matrix": (3, 5)}, "matrix"),
        ({"vector": (4,)}, "vector"),
        ({"another": (2,)}, "another"),
    ],
)
def test_a_state_of_another_architecture_is_refused_from_both_sides(checkpoints, other, reason):
    message = rf"does not fit this model \(.*{reason}.*\); go on with the settings of the run"
    checkpoints.save(1, tensors(1.0), {})
    with pytest.raises(ValueError, match=message):
        checkpoints.load(1, tensors(**other))
    checkpoints.save(2, tensors(2.0, **other), {})
    with pytest.raises(ValueError, match=message):
        checkpoints.load(2, tensors())
