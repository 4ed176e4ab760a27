"""The script of `genie-robo completion`, tried in bash."""

import shutil
import subprocess

import pytest

from genie_robo import cli
from genie_robo.commands.completion import completion_script
from genie_robo.commands.settings import list_settings
from genie_robo.commands.table import COMMANDS, command_names


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """What bash offers for the words of a line, the last of which is being typed."""
    folder = tmp_path_factory.mktemp("completion")
    script = folder / "script.sh"
    script.write_text(completion_script())
    (folder / "a_folder").mkdir()
    program = (
        'source script.sh; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _genie_robo\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def offered(*words):
        line = ["bash", "-c", program, "bash", "genie-robo", *words]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True)
        assert "line" not in done.stderr  # bash names the line of an error
        return done.stdout.splitlines()

    return offered


def test_commands_and_options(complete):
    names = [word.strip() for word in complete("")]
    assert set(command_names()) < set(names)
    assert complete("tra") == ["train "]
    assert complete("--ver") == ["--version "]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting(complete, name):
    keys = {f"{s.path}=" for s in list_settings(COMMANDS[name].config) if not s.is_section}
    assert keys <= set(complete(name, ""))


def test_settings_by_their_beginning(complete):
    assert complete("train", "data.image_") == ["data.image_height=", "data.image_width="]
    assert "optim@tokenizer.optim=" in complete("train", "opt")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("train", "model", "=", "ti"), ["tiny"]),  # as bash divides the line
        (("train", "model=ti"), ["model=tiny"]),  # as zsh does
        (("train", "data", "=", "bridge"), ["bridge", "bridge_dataset"]),
        (("train", "engine.precision", "="), ["auto", "fp32", "bf16"]),
        (("view", "serve", "=", "t"), ["true"]),
        (("view", "run", "=", "a_"), ["a_folder"]),
        (("imagine", "--help", "samp"), ["sampler "]),
    ],
)
def test_values_and_sections(complete, words, offered):
    assert complete(*words) == offered


def test_the_command_prints_the_script(run_cli):
    outcome = run_cli("completion", "bash")
    assert (outcome.status, outcome.out) == (cli.OK, completion_script())
    zsh = run_cli("completion", "zsh").out
    assert zsh.endswith(outcome.out)
    assert "bashcompinit" in zsh


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_zsh_reads_the_script(run_cli, tmp_path):
    script = tmp_path / "script.zsh"
    script.write_text(f"autoload -U compinit && compinit -D\n{run_cli('completion', 'zsh').out}")
    done = subprocess.run(["zsh", "-f", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_has_to_be_named(run_cli):
    assert run_cli("completion").status == cli.USAGE
    assert "expected one of [bash, zsh]" in run_cli("completion", "fish").err
