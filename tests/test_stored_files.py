"""Hostile JSON and YAML in folders that others may have made: refused in little memory and time."""

import hashlib
import json
import os

import numpy as np
import pytest
from torch import nn

from genie_robo.config import TrainConfig
from genie_robo.config_file import read_config
from genie_robo.inference.action_map import ARRAYS, FORMAT_VERSION, REPORT, ActionMap
from genie_robo.pipeline import Stage, read_stamp, stamps_of
from genie_robo.provenance import read_provenance
from genie_robo.report.suites import read_suite
from genie_robo.run_folder import RunFolder
from genie_robo.sim.scene import SceneSpec
from genie_robo.stored_files import MAX_DEPTH, parse_json, read_bytes, read_json, read_yaml_text
from genie_robo.viz.recording import check_recording
from genie_robo.weights import check_weights
from tests.memory_limit import run_limited

DEEP = "[" * 100_000
LAUGHS = "a: &a [ha, ha]\n" + "".join(
    f"{name}: &{name} [{', '.join(10 * [f'*{before}'])}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine levels of aliases: 200 million words in 600 bytes."""


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_good_files_are_read(tmp_path):
    content = {"ä": [1, 2.5, None, True, {"b": "c"}], "d": {}}
    assert read_json(write(tmp_path / "a.json", json.dumps(content))) == content
    text = "a: 1\nb: [x, {c: d}]\n"
    assert read_yaml_text(write(tmp_path / "a.yaml", text)) == text
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("read", [parse_json, "yaml"])
def test_depth_is_limited(tmp_path, read):
    if read == "yaml":

        def read(text):
            return read_yaml_text(write(tmp_path / "a.yaml", text))

    read(nested(MAX_DEPTH))
    for text in (nested(MAX_DEPTH + 1), DEEP, '{"a": ' * 60 + "1" + "}" * 60):
        with pytest.raises(ValueError, match="nested more than 50 levels deep"):
            read(text)


@pytest.mark.parametrize("text", [LAUGHS, "a: &x 1\n", "a: 1\nb: {<<: *c}\n", "- &x {}\n"])
def test_yaml_has_no_anchors_and_aliases(tmp_path, text):
    with pytest.raises(
        ValueError, match=r"line [12] has a YAML anchor or alias; write the value out"
    ):
        read_yaml_text(write(tmp_path / "a.yaml", text))


def test_bytes_are_limited(tmp_path):
    """A sparse file takes no disk."""
    for name, read in (("a.json", read_json), ("a.yaml", read_yaml_text)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(50_000_000_000)
        with pytest.raises(
            ValueError, match=rf"{name} has more than the [\d,]+ bytes that are rea"
        ):
            read(tmp_path / name)


def test_a_pipe_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a regular file"):
        read_json(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LAUGHS, "line 1 has a YAML anchor or alias"),
        (f"a: {DEEP}", "nested more than 50 levels deep"),
        ("a: 1\n" * 100_000, "has more than the 200,000 bytes"),
        ("a: [1, 2\n", "does not describe a TrainConfig"),
        ("\x00", "does not describe a TrainConfig"),
        ("a: " + "9" * 100_000, "does not describe a TrainConfig"),
        ("- 1\n- 2\n", "does not describe a TrainConfig"),
    ],
    ids=["aliases", "depth", "size", "half", "control", "digits", "list"],
)
def test_a_run_of_a_hostile_configuration(tmp_path, content, reason):
    run = RunFolder.at(tmp_path / "run")
    write(run.config, content)
    with pytest.raises(ValueError, match=reason) as caught:
        read_config(run, TrainConfig)
    assert "does not describe a TrainConfig" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_hostile_configuration_needs_no_memory(tmp_path):
    """Aliases took 12 GB, and a sparse file would as well."""
    write(tmp_path / "aliases" / "config.yaml", LAUGHS)
    write(tmp_path / "depth" / "config.yaml", f"a: {DEEP}")
    (tmp_path / "size").mkdir()
    with (tmp_path / "size" / "config.yaml").open("wb") as file:
        file.truncate(50_000_000_000)
    out = run_limited(
        "from genie_robo.config import TrainConfig\n"
        "from genie_robo.config_file import read_config\n"
        "from genie_robo.run_folder import RunFolder",
        "for path in sys.argv[1:]:\n"
        "    try: read_config(RunFolder.at(path), TrainConfig)\n"
        "    except ValueError as error: print(error)\n",
        *(tmp_path / name for name in ("aliases", "depth", "size")),
        extra_mb=50,
    )
    assert [line.partition(": ")[2][:30] for line in out.splitlines()] == [
        "line 1 has a YAML anchor or al",
        "it is nested more than 50 leve",
        "config.yaml has more than the ",
    ]


@pytest.mark.parametrize("content", [DEEP, nested(200), '{"headline": 1', "\ufeff", "[1, 2]"])
def test_json_of_a_run_names_the_file(tmp_path, content):
    run = RunFolder.at(tmp_path / "run")
    stage = Stage(name="train", folder=run.path, settings={}, outputs=(), run=lambda: None)
    for path, read in (
        (run.suite("probe") / "metrics.json", read_suite),
        (run.provenance, lambda _: read_provenance(run)),
        (stamps_of(run) / "train.json", lambda _: read_stamp(stamps_of(run), stage)),
    ):
        write(path, content)
        with pytest.raises(ValueError, match=r"cannot be read|is not") as caught:
            read(path)
        assert path.name in str(caught.value)


@pytest.mark.parametrize("content", [DEEP, "{}", "[]", '{"boxes": [1], "camera": {}}', "null"])
def test_a_scene_that_is_none(content):
    with pytest.raises(ValueError, match="scene is not one that `genie-robo record` wrote"):
        SceneSpec.from_json(content)


def test_arrays_that_inflate(tmp_path):
    """A map's arrays: 100 kB that would become 120 MB."""
    np.savez_compressed(tmp_path / ARRAYS, counts=np.zeros(15_000_000))
    digest = hashlib.blake2b((tmp_path / ARRAYS).read_bytes(), digest_size=16).hexdigest()
    described = {"format_version": FORMAT_VERSION, "arrays": digest}
    (tmp_path / REPORT).write_text(json.dumps(described))
    with pytest.raises(
        ValueError, match=r"inflates to 120,0.* bytes, above 100,000,000. Delete the"
    ):
        ActionMap.load(tmp_path)


def test_pipes_in_place_of_weights_and_pictures_are_refused(tmp_path):
    pipe = tmp_path / "tokenizer.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="is not a regular file"):
        check_weights(pipe, nn.Linear(1, 1))
    with pytest.raises(FileNotFoundError):
        check_recording(pipe)
    with pytest.raises(ValueError, match="is not a regular file"):
        read_bytes(pipe, max_bytes=10)
