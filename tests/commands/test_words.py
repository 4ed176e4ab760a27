"""Settings that are strings arrive as typed, whatever Hydra's grammar would make of them."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from genie_robo.command_line import command_line, write_setting
from genie_robo.commands.command import Command, UsageError
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.commands.words import to_overrides, type_at
from genie_robo.config import DemoConfig, EvalConfig
from genie_robo.settings import StringOrList


@dataclass(frozen=True)
class ShelfConfig:
    path: str = "here"
    output: str | None = "there"
    run: StringOrList = ""
    runs: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    anything: Any = None
    count: int = 1


SHELF = Command(name="shelf", summary="a shelf", config=ShelfConfig, run="nowhere:run")


def read(*words, command=SHELF):
    return to_config(command, compose_config(command, words))


AS_TYPED = (
    *("2024_01_05", "1.10", "1e3", "true", "null", "0x10", "nan", "-1", "010", "1_000"),
    *("müller/set", "日本", "🤖", "#", "a#b", "#a", "a=b", "a=b=c", "=", "a b", " a ", ""),
    *("it's", 'say "hi"', "'a' and 'b'", "a,b", "[a", "a]", "[a]", "[a,b]", "{a: 1}", "a{b}"),
    *("(a)", "f(x)", "a:b", "a;b", "a&b", "a|b", "a\\b", "a\\", "\\'", "@a", "%41", "!a", "*"),
    *("$a", "a$", "~x", "a~/b", "./null", "a\tb", "a\nb", "+a", "-a", "???a", "choice(a,b)"),
)


def test_strings_are_what_was_typed():
    words = [f"++columns.n{number}={typed}" for number, typed in enumerate(AS_TYPED)]
    assert list(read(*words).columns.values()) == list(AS_TYPED)


@pytest.mark.parametrize("typed", ["1.10", "a,b", "müller's [1]=#", "[a", "choice(a,b)", ""])
def test_one_string_for_every_kind_of_setting(typed):
    assert read(f"path={typed}", f"++output={typed}", f"run={typed}", f"runs={typed}") == (
        ShelfConfig(path=typed, output=typed, run=typed, runs=(typed,))
    )


@pytest.mark.parametrize(
    ("typed", "items"),
    [
        ("[a,1.10]", ["a", "1.10"]),
        ("[ 1e3 , true,null]", ["1e3", "true", "null"]),
        ("['a,b',\"c]\", d e]", ["a,b", "c]", "d e"]),
        ("[train[:3shards],val]", ["train[:3shards]", "val"]),
        ("[müller=1,#]", ["müller=1", "#"]),
        ("[]", []),
    ],
)
def test_lists_of_strings(typed, items):
    assert read(f"run={typed}").run == items
    assert list(read(f"runs={typed}").runs) == items


def test_quotes_around_the_whole_value_are_not_part_of_it():
    assert read("path='a,b'").path == "a,b"
    assert read('path="it\'s"').path == "it's"
    assert read("output='null'").output == "null"


def test_null_is_no_string_only_where_there_may_be_none():
    assert read("output=null").output is None
    assert read("path=null").path == "null"


def test_home_and_other_settings(monkeypatch, tmp_path):
    home = tmp_path / "müller=1 #"
    monkeypatch.setattr(Path, "home", lambda: home)
    assert read("path=~/set").path == f"{home}/set"
    assert read("path=~").path == str(home)
    assert read("runs=[~/a,b]").runs == (f"{home}/a", "b")
    assert read("path='~/set'").path == "~/set"
    assert read("count=4", "path=p${count}").path == "p4"
    assert read(r"path=p\${count}").path == "p${count}"


def test_values_of_a_mapping_of_strings():
    assert read("columns={PSNR dB: 1.10, b:é#}").columns == {"PSNR dB": "1.10", "b": "é#"}
    assert read("+columns.a=1e3").columns == {"a": "1e3"}


def test_other_types_are_read_by_hydra():
    assert read("count=3", "anything=[1,2.5,null,x]") == ShelfConfig(
        count=3, anything=[1, 2.5, None, "x"]
    )


def test_sweeps_split_strings_at_commas():
    words = ["path=1.10,a=b,'c,d',é", "run=[a,1e3],[b]", "runs=a,[b,c]", "count=1,2"]
    assert to_overrides(words, ShelfConfig, is_sweep=True) == [
        "path='1.10','a=b','c,d','é'",
        "run=['a','1e3'],['b']",
        "runs=['a'],['b','c']",
        "count=1,2",
    ]
    assert to_overrides(["path=choice(a,b)"], ShelfConfig, is_sweep=True) == ["path=choice(a,b)"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@example("a${b}\\")
@example("\\${'}'")
@example('"a"')
def test_written_strings_are_read_back_through_shell_and_parser(text):
    line = command_line("shelf", write_setting("path", text), write_setting("runs", [text, "b"]))
    words = to_overrides(shlex.split(line)[2:], ShelfConfig)
    path, runs = (parsed.value() for parsed in OverridesParser.create().parse_overrides(words))
    composed = OmegaConf.create({"path": path, "runs": runs})
    if text != "???":  # OmegaConf's word for a missing value
        assert OmegaConf.to_container(composed, resolve=True) == {"path": text, "runs": [text, "b"]}


def test_a_written_command_sets_what_it_was_written_for():
    text = "my ${runs}/it's, [a] = ~ \\"
    line = command_line("shelf", write_setting("path", text), write_setting("run", [text, "1e3"]))
    assert read(*shlex.split(line)[2:]) == ShelfConfig(path=text, run=[text, "1e3"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pth=müller/set", "shelf has no setting 'pth'. Did you mean path?"),
        ("count=müller", r"count=müller is not an override that can be read: count takes int"),
        ("anything=[é", "anything takes Any"),
        ("count", "'count' is not an override that can be read: write KEY=VALUE"),
        ("path=a\udcff", r"path=a\\udcff is not text in UTF-8: rename the file or folder"),
    ],
)
def test_words_that_cannot_be_read(word, message):
    with pytest.raises(UsageError, match=message):
        read(word)


def test_a_name_of_a_configuration_file_that_cannot_be_read():
    with pytest.raises(UsageError, match=r"data=é does not fit: data= takes one of the names"):
        read("data=é", command=load_command("train"))


@pytest.mark.parametrize(
    ("config", "path", "expected"),
    [
        (DemoConfig, "data.source.action.rotation", str),
        (DemoConfig, "data.mix.b.path", str),
        (EvalConfig, "data.rlds_splits", tuple[str, ...]),
        (EvalConfig, "run", StringOrList),
        (EvalConfig, "suite.video.lpips_path", str),
        (EvalConfig, "suite.video.depth", None),
        (EvalConfig, "suite.none.depth", None),
        (EvalConfig, "nowhere.at.all", None),
        (EvalConfig, "device.name", None),
    ],
)
def test_types_of_settings(config, path, expected):
    assert type_at(config, path) == expected
