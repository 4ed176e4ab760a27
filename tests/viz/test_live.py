"""What a watched training run shows, and that no viewer can block it."""

import re
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import rerun as rr
import rerun.blueprint as rrb

import genie_robo.viz.live
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS
from genie_robo.commands.train import open_viewer
from genie_robo.config import TrainConfig, Viz
from genie_robo.viz.follow import _CURVE_COLORS, STAGES, follow, row, training_blueprint
from genie_robo.viz.live import Images, LiveViewer, Numbers
from genie_robo.viz.series import COLOR_NAMES
from genie_robo.viz.viewer import find_viewer
from tests.viz.checks import titles_that_are_cut, views_of

FRAMES = np.random.default_rng(0).integers(256, size=(3, 8, 6, 3), dtype=np.uint8)
USE = np.array([5, 0, 2, 1])
MESSAGES = [
    Numbers("tokenizer", 20, {"loss": 3.0, "perplexity": 2.0}),
    Numbers("tokenizer", 40, {"loss": 2.0, "val_loss": 2.5}),
    Images("tokenizer", 40, {"true": FRAMES, "reconstructed": 255 - FRAMES}, USE),
    Numbers("world_model", 20, {"loss": 9.0}),
    Images("world_model", 20, {"true": FRAMES, "imagined": FRAMES}, USE[:2]),
]


@pytest.fixture
def connect(tmp_path):
    """A viewer that is a file; `streams` holds every connection to it."""

    def make() -> rr.RecordingStream:
        stream = rr.RecordingStream("test", recording_id="same", send_properties=False)
        stream.save(tmp_path / f"{len(make.streams)}.rrd")
        make.streams.append(stream)
        return stream

    make.streams = []
    return make


def read_back(path):
    """Values by entity and component, in the order of training steps."""
    found = {}
    reader = rr.chunk.RrdReader(path)
    for chunk in reader.stream(store=reader.recordings()[0]):
        table = chunk.to_record_batch()
        steps = table["train_step"].to_pylist() if "train_step" in table.schema.names else [-1]
        for name in table.schema.names:
            if ":" in name:
                rows = zip(steps, table[name].to_pylist(), strict=True)
                found.setdefault(f"{chunk.entity_path}:{name}", []).extend(rows)
    return {key: sorted(rows, key=lambda r: r[0]) for key, rows in found.items()}


def test_numbers_images_and_code_use_arrive(connect, tmp_path):
    follow(MESSAGES, connect)
    connect.streams[0].disconnect()

    assert subprocess.run([find_viewer(), "rrd", "verify", tmp_path / "0.rrd"]).returncode == 0
    found = read_back(tmp_path / "0.rrd")
    loss = "/tokenizer/numbers/loss:Scalars:scalars"
    assert found[loss] == [(20, [3.0]), (40, [2.0])]
    assert found["/tokenizer/numbers/val_loss:Scalars:scalars"] == [(40, [2.5])]
    assert found["/world_model/numbers/loss:Scalars:scalars"] == [(20, [9.0])]
    ((step, buffer),) = found["/tokenizer/pictures/reconstructed:Image:buffer"]
    shown = np.array(buffer[0], np.uint8).reshape(8, 3 * 6 + 2 * 2, 3)
    assert step == 40
    np.testing.assert_array_equal(shown, row(255 - FRAMES))
    ((_, bars),) = found["/tokenizer/code_use:BarChart:values"]
    assert (bars[0]["shape"], bars[0]["buffer"]) == ([len(USE)], USE.tolist())


def test_frames_of_a_row_stand_side_by_side():
    shown = row(FRAMES)
    np.testing.assert_array_equal(shown[:, 8:14], FRAMES[1])
    assert (shown[:, 6:8] == 255).all()


def test_a_viewer_that_starts_late_gets_earlier_messages(connect, tmp_path):
    tries = iter([None, None, None])
    follow(MESSAGES, lambda: connect() if next(tries, True) else None)
    (stream,) = connect.streams
    stream.disconnect()

    found = read_back(tmp_path / "0.rrd")
    assert found["/tokenizer/numbers/loss:Scalars:scalars"] == [(20, [3.0]), (40, [2.0])]
    assert [step for step, _ in found["/tokenizer/pictures/true:Image:buffer"]] == [40]


def test_another_viewer_takes_over_after_a_crash(connect, tmp_path):
    def connect_to_the_dying() -> rr.RecordingStream:
        stream = connect()
        if len(connect.streams) == 1:
            flushes = iter([None])

            def flush() -> None:
                if next(flushes, "dead") == "dead":
                    raise RuntimeError("gRPC connection severed")

            stream.flush = flush
        return stream

    follow(MESSAGES, connect_to_the_dying)
    for stream in connect.streams:
        stream.disconnect()

    assert len(connect.streams) == 2
    found = read_back(tmp_path / "1.rrd")
    assert found["/tokenizer/numbers/loss:Scalars:scalars"] == [(20, [3.0]), (40, [2.0])]
    assert "/world_model/code_use:BarChart:values" in found


def test_layout_has_a_tab_for_each_stage_and_follows(connect, tmp_path):
    names = {
        "tokenizer": "loss val_loss psnr val_psnr perplexity dead_codes code_resets",
        "world_model": "loss val_loss lam_unexplained_change val_lam_unexplained_change "
        "dynamics_accuracy val_dynamics_accuracy lam_perplexity lam_dead_codes lam_code_resets",
    }
    for number, layout in enumerate(STAGES):
        blueprint = training_blueprint(layout.stage)
        tabs = blueprint.root_container
        assert tabs.active_tab == number
        page = tabs.contents[number]
        origins = [str(view.origin) for view in views_of(page)]
        assert [*dict.fromkeys(origins)] == [
            *(f"/{layout.stage}/pictures/{name}" for name, _ in layout.rows),
            f"/{layout.stage}/code_use",
            f"/{layout.stage}/numbers",
        ]
        shown = {name for _, plotted in layout.plots for name in plotted}
        assert shown == set(names[layout.stage].split())


def test_no_legend_lies_over_a_curve_and_titles_name_the_colours():
    views = views_of(training_blueprint("tokenizer"))
    plots = [view for view in views if isinstance(view, rrb.TimeSeriesView)]
    assert len(plots) == sum(len(layout.plots) for layout in STAGES)
    for view in plots:
        legend = view.properties["PlotLegend"]
        assert legend.visible.as_arrow_array().to_pylist() == [False]
    for title, names in (plot for layout in STAGES for plot in layout.plots):
        shown = [COLOR_NAMES[color] for color in _CURVE_COLORS[: len(names)]]
        found = re.findall("|".join(COLOR_NAMES.values()), title)
        assert found == (shown if len(names) > 1 else []), title
    assert titles_that_are_cut(training_blueprint("tokenizer")) == []


def test_an_unresponsive_viewer_never_blocks_training(monkeypatch):
    monkeypatch.setattr(genie_robo.viz.live, "CLOSE_TIMEOUT_S", 0.5)
    look = SimpleNamespace(pictures={"true": np.zeros((4, 512, 512, 3), np.uint8)}, code_use=USE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        viewer = LiveViewer(f"127.0.0.1:{silent.getsockname()[1]}", name="run")
        begin = time.monotonic()
        for step in range(1000):
            viewer.look("tokenizer", step, look)
        viewer.close()
        assert time.monotonic() - begin < 10
    assert viewer.num_left_out > 800
    assert viewer._process.returncode != 0


def test_a_missing_viewer_is_reported_once(capfd):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with LiveViewer(address, name="run") as viewer:
        for step in range(5):
            viewer.numbers("tokenizer", step, {"loss": 1.0})
    assert viewer.num_left_out == 0
    assert capfd.readouterr().err.count(f"no Rerun viewer at {address}; training goes on") == 1


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("genie_robo.viz.live", {"rerun", "torch"}), ("genie_robo.viz.follow", {"mujoco", "torch"})],
)
def test_watching_loads_no_more_than_it_needs(module, heavy):
    program = f"import sys, {module}; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.stderr.decode().strip() == ""


@pytest.mark.parametrize(
    "address", ["localhost", "9876", "http://localhost:9876", "a:0", "a:70000"]
)
def test_invalid_addresses_are_refused(address):
    with pytest.raises(ValueError, match=rf"viewer={address} must be HOST:PORT of a running Rerun"):
        open_viewer(TrainConfig(run="unused", viz=Viz.live, viewer=address))


def test_watching_is_off_by_default():
    words = ["run=unused", "data.path=unused"]
    config = to_config(COMMANDS["train"], compose_config(COMMANDS["train"], words))
    assert config.viz is Viz.none
    with open_viewer(config) as viewer:
        assert viewer is None
    words += ["viz=live", "viewer=gpu-node:9999"]
    config = to_config(COMMANDS["train"], compose_config(COMMANDS["train"], words))
    assert (config.viz, config.viewer) == (Viz.live, "gpu-node:9999")
