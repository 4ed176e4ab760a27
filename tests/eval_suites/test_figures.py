"""Figures can be read: nothing covers a legend, a label, a ceiling or a baseline."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.figures import Curve
from genie_robo.inference.code_names import code_colors

NAMES = ("0 +z", "1 +x+y", "2 -x-y", "3 +y", "4 -z", "5 -x", "6 +x-y", "7 -y")
MEANS_M = 0.01 * np.array(
    [
        *([-0.1, 0.1, 3.5], [2.5, 1.7, 0.4], [-1.0, -0.8, -0.3], [-0.5, 3.3, -1.0]),
        *([0.1, 0.1, -3.5], [-3.3, 0.8, 0.5], [2.9, -1.5, -0.9], [0.0, -3.4, 0.6]),
    ]
)
"""Mean displacements of the codes of a demo."""


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def line(*values: float) -> Curve:
    return figures.value_curve(values)


def rose() -> Figure:
    codes = np.repeat(np.arange(8), 3)
    return drawn(figures.displacement_rose(codes, MEANS_M[codes], names=NAMES))


def labels_of(figure: Figure) -> dict[str, Annotation]:
    texts = figure.axes[0].texts
    return {t.get_text(): t for t in texts if isinstance(t, Annotation) and t.get_text()}


@pytest.mark.parametrize(
    "figure",
    [
        figures.curves(
            (1, 2), {"one": line(3, 4), "two": line(0, 0)}, labels=("t", "dB"), zero_line=True
        ),
        figures.histograms(
            {f"{n}: a rather long name": np.arange(9.0) for n in range(5)}, label=""
        ),
        figures.usage(np.arange(1, 9), label="code", names=NAMES),
    ],
)
def test_a_legend_lies_outside_the_axes(figure):
    (legend,) = drawn(figure).legends
    assert not any(axes.get_legend() for axes in figure.axes)
    legend_box = legend.get_window_extent()
    assert not any(legend_box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert figure.bbox.x0 <= legend_box.x0 < legend_box.x1 <= figure.bbox.x1


def test_a_ceiling_below_its_bar_is_drawn_above_and_beyond_it():
    figure = figures.bars_with_baselines(
        ["dz"],
        [0.80],
        [(0.76, 0.82)],
        baselines={},
        ceilings=[0.79],
        labels=("codes", "ceiling", "R2"),
    )
    (axes,) = drawn(figure).axes
    (bar,) = (patch for patch in axes.patches if patch.get_height() == 0.80)
    ceiling = next(c for c in axes.collections if c.get_label() == "ceiling")
    ((left, height), (right, _)) = ceiling.get_segments()[0]
    assert height == 0.79
    assert left < bar.get_x() < bar.get_x() + bar.get_width() < right
    assert ceiling.get_zorder() > bar.get_zorder()
    (number,) = (text for text in axes.texts if text.get_text() == "0.80")
    top = axes.transData.inverted().transform(number.get_window_extent().get_points())[1, 1]
    assert top < height, "the number is not above the ceiling, whose value it would seem to be"


def test_every_baseline_is_drawn_with_marks_of_its_own():
    names = [f"baseline {n}" for n in range(9)]
    figure = figures.bars_with_baselines(
        ["mean"],
        [0.5],
        [None],
        baselines={name: [0.1 * n] for n, name in enumerate(names)},
        ceilings=[None],
        labels=("codes", "ceiling", "R2"),
    )
    legend = drawn(figure).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["codes", "ceiling", *names]
    marks = [m for m in figure.axes[0].collections if m.get_label() in names]
    looks = {(tuple(m.get_facecolor()[0]), m.get_paths()[0].vertices.shape) for m in marks}
    assert len(looks) == len(names)
    assert len({tuple(m.get_facecolor()[0]) for m in marks}) == len(names), "a colour each"


def test_more_curves_than_colours_have_looks_of_their_own():
    axes = Figure().subplots()
    curves = {f"curve {number}": line(number, number) for number in range(20)}
    figures.draw_curves(axes, [1, 2], curves, labels=("frame", "value"))
    looks = {(c.get_color(), c.get_linestyle(), c.get_marker()) for c in axes.lines}
    assert len(axes.lines) == len(looks) == 20


def test_labels_of_the_rose_lie_beyond_their_arrows_and_apart():
    labels = labels_of(rose())
    boxes = {name: label.get_window_extent() for name, label in labels.items()}
    for name, box in boxes.items():
        x, y = labels[name].axes.transData.transform(100 * MEANS_M[NAMES.index(name), :2])
        assert not box.contains(x, y), f"the label of {name} lies on the tip of its arrow"
        assert not any(box.overlaps(other) for n, other in boxes.items() if n != name)


def test_vertical_codes_have_a_bar_and_no_arrow():
    figure = rose()
    assert set(labels_of(figure)) == set(NAMES) - {"0 +z", "4 -z"}
    assert len(figure.axes[1].patches) == len(NAMES)
    ticks = [tick.get_text() for tick in figure.axes[1].get_xticklabels()]
    assert ticks == [name.replace(" ", "\n") for name in NAMES]


def test_codes_have_the_colours_of_the_recordings():
    expected = np.array(code_colors(8)) / 255
    for axes in (rose().axes[1], figures.usage(np.ones(8, int), label="", names=NAMES).axes[0]):
        assert np.allclose([to_rgb(bar.get_facecolor()) for bar in axes.patches], expected)


def test_names_of_many_codes_do_not_overlap():
    names = [f"{n} +x-y" for n in range(16)]
    figure = drawn(figures.usage(np.ones(16, int), label="", names=names))
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_a_forest_compares_with_its_reference():
    figure = figures.forest(
        ["above", "around", "below"],
        [1.2, 1.0, 0.8],
        [(1.1, 1.3), (0.9, 1.1), (0.7, 0.9)],
        label="ratio",
        reference=1.0,
    )
    (axes,) = figure.axes
    reference, *points = axes.lines
    assert list(reference.get_xdata()) == [1.0, 1.0]
    colours = [point.get_color() for point in points]
    assert colours == [figures.BLUE, figures.GREY, figures.ORANGE]


def test_a_strip_without_a_prompt_begins_later():
    video = np.zeros((3, 4, 4, 3), np.uint8)
    figure = figures.frame_strip({"true": video, "imagined": video[1:]}, titles=["0", "1", "2"])
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0, 1, 1]


def test_panels_wrap_into_rows():
    panels = figures.new_axes(4, width=9.0, height=3.0, columns=3)
    assert list(figures.owner(panels[0]).get_size_inches()) == [9.0, 6.0]
    shapes = [panel.get_subplotspec().get_gridspec().get_geometry() for panel in panels]
    assert shapes == [(2, 2)] * 4
