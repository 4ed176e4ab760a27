"""Files appear complete or not at all, and killed processes leave nothing for long."""

import os
import subprocess
import sys
import textwrap

import pytest

from genie_robo.atomic import noting_writes, remove_leftovers, replacing
from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.run_lock import only_writer


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_failing_writer_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "numbers.json"
    write_atomic(path, "old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    path = tmp_path / "result"
    path.mkdir()
    (path / "old").touch()
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [each.name for each in path.iterdir()] == ["new"]


def test_writing_again_removes_what_a_killed_writer_of_the_same_file_left(tmp_path, dead):
    left = tmp_path / f".numbers.json.{dead}.tmp"
    other = tmp_path / f".numbers.json.{os.getppid()}.tmp"
    for path in (left, other):
        path.touch()
    write_atomic(tmp_path / "numbers.json", "new")
    assert not left.exists()
    assert other.exists()  # its process is running


@pytest.mark.parametrize("name", [".config.yaml.{}.tmp", ".episode_000.{}.mp4", ".a.b.{}.png"])
def test_leftovers_are_known_by_name_and_process(tmp_path, dead, name):
    (tmp_path / "deep").mkdir()
    left = tmp_path / "deep" / name.format(dead)
    left.touch()
    kept = [tmp_path / ".notes.tmp", tmp_path / "deep" / name.format(os.getpid())]
    for path in kept:
        path.touch()
    remove_leftovers(tmp_path)
    assert not left.exists()
    assert all(path.exists() for path in kept)


def test_writes_are_noted_before_they_appear(tmp_path):
    noted = []
    with noting_writes(lambda path: noted.append((path.name, path.exists()))):
        write_atomic(tmp_path / "a", "text")
    write_atomic(tmp_path / "b", "text")
    assert noted == [("a", False)]


WRITER = textwrap.dedent("""
    import sys
    from genie_robo.run_folder import RunFolder
    from genie_robo.run_lock import only_writer
    with only_writer(RunFolder.at(sys.argv[1])):
        print("writing", flush=True)
        sys.stdin.read()
""")


@pytest.fixture
def writer(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path, writer):
    run = RunFolder.at(tmp_path / "run")
    with pytest.raises(RuntimeError, match=r"another process .* is writing into .*run=FOLDER"):
        only_writer(run).__enter__()
    writer.kill()
    writer.wait()
    with only_writer(run), only_writer(RunFolder.at(str(run.path))):
        pass


def test_the_lock_is_taken_after_unfinished_files_are_removed(tmp_path, dead):
    left = tmp_path / f".config.yaml.{dead}.tmp"
    partial = tmp_path / "tokenizer" / "checkpoints" / ".step_00000010.partial"
    partial.mkdir(parents=True)
    left.touch()
    with only_writer(RunFolder.at(tmp_path)):
        assert not left.exists()
        assert not partial.exists()
