import importlib.util
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from genie_robo.models import attention
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.settings import Backend, Joining
from genie_robo.models.transformer import STBlock, STTransformer

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", DOCS / "scaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_page_holds_what_the_script_prints(scaling):
    page = (DOCS / "scaling.md").read_text()
    tables = scaling.report()
    assert set(tables) == {"work", "memory", "plan", "tokenizer"}
    for name, table in tables.items():
        assert table in page, f"run `python docs/scaling.py` and put its table {name} into the page"


def test_every_preset_is_in_the_tables(scaling):
    presets = {path.stem for path in (DOCS.parent / "conf" / "model").glob("*.yaml")}
    assert set(scaling.JOBS) <= presets
    # The Genie of the paper is its own 10.1B preset.
    paper = scaling._build("paper", scaling.JOBS["scale_10b1"])
    largest = scaling._build("scale_10b1", scaling.JOBS["scale_10b1"])
    assert scaling._count(paper) == scaling._count(largest)


def test_operations_are_those_that_torch_counts(scaling):
    with torch.device("meta"):
        stack = STTransformer(
            num_blocks=2, dim=64, num_heads=3, head_dim=32, backend=Backend.matmul
        )
        video = torch.zeros(1, 16, 40, 64, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            stack(video).sum().backward()
    assert scaling._stack(stack, 40).flops == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_clean_past_computes_frames_twice_but_for_two(scaling):
    with torch.device("meta"):
        stack = STTransformer(
            num_blocks=2, dim=64, num_heads=3, head_dim=32, backend=Backend.matmul
        )
        model = DynamicsModel(
            num_tokens=50,
            tokens_per_frame=40,
            latent_dim=3,
            actions=Joining.additive,
            transformer=stack,
            clean_past=True,
        )

    assert scaling._stack(stack, 40, model).tokens_computed == 2 * 15 * 40
    assert scaling._stack(stack, 40).tokens_computed == 16 * 40


class KeepsWhatFlashKeeps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value):
        out = query.clone()
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx, *grads):
        raise NotImplementedError


def kept_bytes(num_windows):
    """Memory that a block of width 64 and attention width 96 keeps in bf16 autocast on a CPU."""
    block = STBlock(dim=64, num_heads=3, head_dim=32, ff_multiplier=4.0, backend=Backend.sdpa)
    video, kept = torch.zeros(num_windows, 16, 40, 64, requires_grad=True), {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        block(video)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_activations_are_those_that_torch_keeps(scaling, monkeypatch):
    monkeypatch.setattr(attention, "attend", lambda *qkv, **_: KeepsWhatFlashKeeps.apply(*qkv))
    with torch.device("meta"):
        stack = STTransformer(num_blocks=1, dim=64, num_heads=3, head_dim=32)
    counted = scaling._stack(stack, 40)
    # On a GPU autocast also normalises queries and keys in fp32, in both attentions.
    in_fp32 = 2 * 2 * 4 * counted.attention_dim * counted.num_tokens
    measured = kept_bytes(2) - kept_bytes(1) + in_fp32
    assert counted.block_bytes == pytest.approx(measured, rel=0.1)


@pytest.fixture
def training(scaling):
    """A billion parameters; a window of a thousand tokens in one block of width 1000."""
    stack = scaling.Stack(
        num_parameters=10**9,
        num_blocks=1,
        dim=1000,
        attention_dim=1000,
        frames_computed=10,
        tokens_per_frame=100,
    )
    return scaling.Training(
        name="toy",
        job=scaling.Job(64, 64, 8, 86_400),
        num_parameters=10**9,
        num_frozen=0,
        stacks=[stack],
        num_scores=0,
    )


def test_known_memory_and_time(scaling, training):
    assert training.state_gb(1, is_sharded=False) == pytest.approx(18)
    assert training.state_gb(8, is_sharded=False) == pytest.approx(18)
    assert training.state_gb(8, is_sharded=True) == pytest.approx(2 + 14)
    assert training.window_gb(checkpoint=False) == pytest.approx(0.082)
    assert training.step_flops == pytest.approx(8 * 1000 * (6e9 + 12 * 1000 * 110))
    days = training.step_flops / (scaling.UTILISATION * scaling.PEAK)
    assert training.days(1, checkpoint=False) == pytest.approx(days)
    assert training.days(8, checkpoint=True) == pytest.approx(days / 8 * 4 / 3)


def test_plans(scaling, training, monkeypatch):
    assert training.plan(3) == "-"
    assert training.plan(8).startswith("DDP, ")
    monkeypatch.setattr(scaling, "USABLE_GB", 18.1)
    assert training.plan(1).startswith("/8, ")
    assert training.plan(8).startswith("DDP, ")
    monkeypatch.setattr(scaling, "USABLE_GB", 17)
    assert training.plan(1) == "does not fit"
    assert training.plan(8).startswith("FSDP2, ")
    monkeypatch.setattr(scaling, "USABLE_GB", 10)
    assert training.plan(8) == "does not fit"
