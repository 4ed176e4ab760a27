import pytest
import torch

from genie_robo.models.rotary import rotate_frames, rotate_places
from genie_robo.models.settings import Backend
from genie_robo.models.transformer import FullBlock, SpatialBlock, STBlock, STTransformer

BACKENDS = [Backend.sdpa, Backend.matmul]
LAYOUTS = ["space_time", "space", "space_then_full", "full_then_space"]
LOOKING_BACK = ["space_time", "space_then_full", "full_then_space"]


def stack(backend=Backend.auto, **changes):
    torch.manual_seed(0)
    sizes = {"num_blocks": 3, "dim": 20, "num_heads": 3, "head_dim": 8} | changes
    return STTransformer(**sizes, backend=backend).eval()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_changing_a_frame_moves_no_earlier_output(backend, layout):
    model, x = stack(backend, layout=layout), torch.randn(2, 16, 5, 20)
    changed = x.clone()
    changed[:, 10] = torch.randn(2, 5, 20)

    before, after = model(x), model(changed)

    assert torch.equal(before[:, :10], after[:, :10])
    last_moved = 10 if layout == "space" else 15
    assert (before[:, 10 : last_moved + 1] != after[:, 10 : last_moved + 1]).any(dim=-1).all()
    assert torch.equal(before[:, last_moved + 1 :], after[:, last_moved + 1 :])


@pytest.mark.parametrize("layout", LOOKING_BACK)
def test_gradient_of_an_output_reaches_all_past_frames_and_no_future_one(layout):
    x = torch.randn(1, 6, 4, 20, requires_grad=True)

    stack(layout=layout)(x)[:, 3].square().sum().backward()

    reached = x.grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [True, True, True, True, False, False]


def test_one_full_block_sees_every_patch_of_the_past():
    x = torch.randn(1, 4, 3, 20, requires_grad=True)

    stack(num_blocks=1, layout="space_then_full")(x)[0, 2, 1].square().sum().backward()

    reached = x.grad[0].abs().sum(-1) > 0
    assert reached.tolist() == [[True] * 3, [True] * 3, [True] * 3, [False] * 3]


def test_blocks_of_a_layout_are_in_order():
    def kinds(layout):
        return [type(block) for block in stack(num_blocks=5, layout=layout).blocks]

    assert kinds("space_time") == [STBlock] * 5
    assert kinds("space") == [SpatialBlock] * 5
    assert kinds("space_then_full") == [SpatialBlock] * 2 + [FullBlock] * 3
    assert kinds("full_then_space") == [FullBlock] * 3 + [SpatialBlock] * 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_reaches_every_parameter_of_every_layout(layout):
    model = stack(layout=layout)

    model(torch.randn(2, 4, 5, 20)).square().sum().backward()

    assert [n for n, p in model.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_checkpointed_activations_change_no_loss_and_no_gradient(layout):
    x, results, forwards = torch.randn(2, 4, 5, 20), [], []
    for checkpointed in (False, True):
        model = stack(layout=layout).train()
        model.checkpoint_activations = checkpointed
        counter = []
        model.blocks[1].register_forward_pre_hook(lambda *_, seen=counter: seen.append(1))
        loss = model(x).square().sum()
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
        forwards.append(len(counter))

    assert all(torch.equal(kept, again) for kept, again in zip(*results, strict=True))
    assert forwards == [1, 2]


def test_activations_are_checkpointed_in_training_only():
    model, calls = stack(), []
    model.checkpoint_activations = True
    model.blocks[0].register_forward_hook(lambda *_: calls.append(1))

    model.eval()(torch.randn(1, 2, 3, 20)).sum().backward()

    assert len(calls) == 1


def test_batch_items_do_not_see_each_other():
    model, x = stack(), torch.randn(3, 4, 5, 20)
    alone = model(x[1:2])

    torch.testing.assert_close(model(x)[1:2], alone, atol=1e-6, rtol=1e-5)


def test_spatial_attention_mixes_patches_of_a_frame():
    model, x = stack(num_blocks=1), torch.randn(1, 1, 5, 20)
    changed = x.clone()
    changed[:, :, 0] = torch.randn(20)

    assert (model(x)[:, :, 4] != model(changed)[:, :, 4]).any()


def test_rotary_attention_depends_on_frame_distance_only():
    query, key = torch.randn(1, 1, 1, 1, 1, 8), torch.randn(1, 1, 1, 1, 1, 8)

    near = (rotate_frames(query, first=5) * rotate_frames(key, first=3)).sum()
    far = (rotate_frames(query, first=105) * rotate_frames(key, first=103)).sum()
    other = (rotate_frames(query, first=5) * rotate_frames(key, first=4)).sum()

    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)
    assert abs(near - other) > 1e-3


def test_rotary_attention_within_a_frame_depends_on_rows_and_columns_between_patches():
    query, key = torch.randn(2, 12)
    grid, everywhere = (4, 5), torch.ones(20, 1)
    turned = rotate_places(everywhere * query, grid) @ rotate_places(everywhere * key, grid).T
    row, column = torch.arange(20) // 5, torch.arange(20) % 5
    apart = torch.stack([row[:, None] - row, column[:, None] - column], dim=-1)

    found = {}
    for offset, product in zip(apart.flatten(0, 1).tolist(), turned.flatten(), strict=True):
        found.setdefault(tuple(offset), []).append(product)

    products = torch.stack([torch.stack(same).mean() for same in found.values()])
    assert max(torch.stack(same).std(correction=0) for same in found.values()) < 1e-5
    assert len(found) == 7 * 9
    assert torch.pdist(products[:, None]).min() > 1e-5
    torch.testing.assert_close(turned.diag(), (query @ key).expand(20), atol=1e-5, rtol=0)


def test_only_the_patches_at_the_end_are_turned_by_their_place():
    x = torch.randn(2, 1 + 6, 8)

    turned = rotate_places(x, (2, 3))

    assert torch.equal(
        turned[:, :2], x[:, :2]
    )  # the action token, and the patch at row 0, column 0
    torch.testing.assert_close(turned[:, 1:], rotate_places(x[:, 1:], (2, 3)))
    assert (turned[:, 2:] != x[:, 2:]).any(-1).all()


def test_with_relative_places_a_moved_picture_gives_a_moved_output():
    frame = torch.zeros(1, 1, 4, 4, 20)
    frame[:, :, 0, 1], frame[:, :, 1, 3] = torch.randn(2, 20)
    moved, turned = frame.roll(2, dims=2), frame.transpose(2, 3)
    model = stack(num_blocks=1, grid=(4, 4))

    before, after, other = (
        model(x.flatten(2, 3)).unflatten(2, (4, 4)) for x in (frame, moved, turned)
    )

    torch.testing.assert_close(after[:, :, 2, 1], before[:, :, 0, 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(after[:, :, 3, 3], before[:, :, 1, 3], atol=1e-6, rtol=0)
    assert (other[:, :, 1, 0] - before[:, :, 0, 1]).abs().max() > 1e-4


def test_weights_of_absolute_places_do_not_load_into_relative_ones():
    with pytest.raises(RuntimeError, match="grid"):
        stack(grid=(4, 4)).load_state_dict(stack().state_dict())


def test_projections_may_be_rectangular():
    model = stack(dim=20, num_heads=5, head_dim=16)

    assert model.blocks[0].spatial.to_qkv.weight.shape == (3 * 80, 20)
    assert model(torch.randn(1, 2, 3, 20)).shape == (1, 2, 3, 20)


@pytest.mark.parametrize("num_prompt", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cache_gives_the_output_of_the_full_window(num_prompt, layout):
    model, x = stack(layout=layout), torch.randn(2, 8, 5, 20)
    full = model(x)
    cache = model.new_cache(max_frames=8)

    prompt = model(x[:, :num_prompt], cache)
    cache.finish(num_prompt)
    frames = [prompt]
    for t in range(num_prompt, 8):
        model(torch.randn(2, 1, 5, 20), cache)  # an unfinished frame is not cached
        frames.append(model(x[:, t : t + 1], cache))
        cache.finish()

    torch.testing.assert_close(torch.cat(frames, dim=1), full, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_give_their_part_of_the_output(layout):
    model, x = stack(layout=layout), torch.randn(2, 4, 5, 20)
    full, places = model(x)[:, -1], torch.tensor([[4, 0], [1, 3]])
    cache = model.new_cache(max_frames=4)
    first = model(x[:, :1], cache, places)
    torch.testing.assert_close(first[:, 0], model(x[:, :1])[:, 0].gather(1, rows(places)))

    model.remember(x[:, :3], cache)
    some = model(x[:, 3:], cache, places)

    torch.testing.assert_close(some[:, 0], full.gather(1, rows(places)), atol=1e-5, rtol=1e-5)


def rows(places):
    return places[..., None].expand(-1, -1, 20)


@pytest.mark.parametrize("layout", ["space_time", "space_then_full"])
def test_cache_slides_and_does_not_grow(layout):
    model = stack(num_blocks=1, layout=layout)
    x = torch.randn(1, 20, 2, 20)
    cache = model.new_cache(max_frames=4)
    for t in range(20):
        last = model(x[:, t : t + 1], cache)
        cache.finish()

    assert cache.blocks[0].keys.shape[3] == 4
    assert cache.blocks[0].num_kept == 3
    window = model(x[:, 16:])[:, -1:]
    torch.testing.assert_close(last, window, atol=1e-4, rtol=1e-4)
