"""Command lines that the program prints survive the shell and the parser."""

import re
import shlex

import pytest
from rich.console import Console

from genie_robo import config as cfg
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS, load_command
from genie_robo.commands.view import run as view
from genie_robo.inspection.facts import source_words
from genie_robo.inspection.proposal import known_sources
from genie_robo.report.write import write_report
from genie_robo.run_folder import RunFolder

STRANGE = 'my ${run}/it\'s, [a] = (b) #1 ~ é "q" \\ `x` 1.10'


def paste(line: str):
    """The configuration that a line gives after a shell and the parser have read it."""
    program, name, *words = shlex.split(line)
    assert program == "genie-robo"
    command = load_command(name)
    is_sweep = "-m" in words
    words = command.name_first([word for word in words if word != "-m"])
    return to_config(command, compose_config(command, words, is_sweep=is_sweep))


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_examples_of_every_help_page(name):
    for example in COMMANDS[name].examples:
        line = re.sub(r"^torchrun .* -m genie_robo", "genie-robo", example.split(" | ")[-1])
        assert isinstance(paste(line), COMMANDS[name].config)


def test_a_missing_run_and_its_recordings(tmp_path):
    run = tmp_path / STRANGE
    with pytest.raises(FileNotFoundError, match="there is no run folder") as missing:
        view(cfg.ViewConfig(run=str(run)))
    assert paste(str(missing.value).split("make one with: ")[1]).run == str(run)
    run.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no recordings") as missing:
        view(cfg.ViewConfig(run=str(run)))
    assert paste(str(missing.value).split("make them with: ")[1]).run == str(run)


def test_a_dataset_in_place_of_recordings(tmp_path):
    folder = tmp_path / STRANGE
    (folder / "1.0.0").mkdir(parents=True)
    (folder / "1.0.0" / "features.json").touch()
    with pytest.raises(FileNotFoundError, match="holds a dataset") as missing:
        view(cfg.ViewConfig(path=str(folder)))
    assert paste(str(missing.value).split("make one with: ")[1]).path == str(folder)


def test_the_report_of_a_run(tmp_path):
    run = RunFolder.at(tmp_path / STRANGE.replace("`", ""))
    run.path.mkdir(parents=True)
    write_report(run)
    lines = re.findall(r"`(genie-robo .*)`", run.report.read_text())
    assert [paste(line).run for line in lines] == [str(run.path)] * 2


def test_ctrl_c_prints_what_was_typed(run_cli, monkeypatch):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("genie_robo.commands.checks.check_export", interrupted)
    outcome = run_cli("export", "run=1.10", "output=it's ~/a")
    printed = paste(re.search("`(.*)`", outcome.err)[1])
    assert printed == cfg.ExportConfig(run="1.10", output="it's ~/a")


def test_a_source_as_words():
    known = known_sources()
    assert source_words(known["bridge_dataset"], known) == "data=bridge_dataset"
    source = cfg.Source(
        camera="observation/müller's",
        cameras={"wrist": "a,b"},
        bgr=("a,b", "1.10"),
        action=cfg.ActionSource(gripper="", motion=cfg.Motion.target, translation_scale=0.02),
        control_hz=5.0,
    )
    line = f"genie-robo train run=x data.path=y {source_words(source, known)}"
    assert paste(line).data.source == source


def test_lines_are_not_broken_and_brackets_are_no_markup(run_cli, monkeypatch, tmp_path):
    folder = f"{tmp_path}/[bold]{'long ' * 30}"
    monkeypatch.setattr("genie_robo.commands.demo.run_stages", lambda *_, announce: announce("[x]"))
    outcome = run_cli("demo", f"run={folder}")
    assert outcome.out.startswith("[x]\n")
    assert paste(outcome.out.splitlines()[-1].removeprefix("look at it  ")).run == folder
    assert Console().width < len(folder)
