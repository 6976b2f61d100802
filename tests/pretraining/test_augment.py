import numpy as np
import pytest
import torch

from regraft.pretraining import augment
from regraft.pretraining.augment import DRAWS, Ranges, augmented
from regraft.pretraining.quality import neighbour_labels, quality

STILL = Ranges(area=1.0, aspect=1.0, mirror=0, coloured=0, grey=0, blur=0)


def pictures(count: int = 6, size_px: int = 32) -> torch.Tensor:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return torch.from_numpy(small.repeat(size_px // 8, 1).repeat(size_px // 8, 2))


def draws(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, DRAWS))


def test_without_any_change_the_picture_comes_back() -> None:
    x = augmented(pictures(), draws(6), 32, STILL)
    assert torch.allclose(x, pictures().permute(0, 3, 1, 2) / 255, atol=1e-4)


def test_a_view_is_a_function_of_its_draws_alone() -> None:
    alone = augmented(pictures()[2:3], draws(6)[2:3], 24)
    together = augmented(pictures(), draws(6), 24)[2:3]
    assert torch.allclose(alone, together, atol=1e-5)
    assert not torch.allclose(augmented(pictures(), draws(6, seed=1), 24)[2:3], together, atol=0.01)


def test_mirror_exchanges_left_and_right() -> None:
    x = augmented(pictures(), draws(6), 32, Ranges(1.0, 1.0, 1.0, coloured=0, grey=0, blur=0))
    assert torch.allclose(x.flip(3), pictures().permute(0, 3, 1, 2) / 255, atol=1e-4)


def test_grey_has_no_colour_and_the_brightness_of_the_picture() -> None:
    x = augmented(pictures(), draws(6), 32, Ranges(1.0, 1.0, 0, coloured=0, grey=1, blur=0))
    luma = (pictures().permute(0, 3, 1, 2) / 255 * torch.tensor(augment.GREY)[:, None, None]).sum(1)
    for colour in range(3):
        assert torch.allclose(x[:, colour], luma, atol=1e-3)


def test_blur_keeps_the_mean_and_takes_the_edges() -> None:
    sharp = augmented(pictures(), draws(6), 32, STILL)
    blurred = augmented(
        pictures(), draws(6), 32, Ranges(1.0, 1.0, 0, coloured=0, grey=0, blur=1, sigma_px=(28, 28))
    )
    assert (blurred.mean((2, 3)) - sharp.mean((2, 3))).abs().max() < 0.1
    edges = (x.diff(dim=3).abs().mean() for x in (blurred, sharp))
    assert next(edges) < 0.7 * next(edges)


def test_crops_cover_between_a_fifth_and_all_of_the_area() -> None:
    u = torch.from_numpy(draws(2000).astype(np.float32))
    theta = augment._boxes(u, torch.ones(len(u)), Ranges())
    area = theta[:, 0, 0].abs() * theta[:, 1, 1]
    assert area.min() > 0.19
    assert area.max() <= 1
    reach = theta[:, [0, 1], 2].abs() + torch.stack([theta[:, 0, 0].abs(), theta[:, 1, 1]], 1)
    assert reach.max() <= 1 + 1e-5
    assert 0.45 < (theta[:, 0, 0] < 0).float().mean() < 0.55


@pytest.mark.parametrize("aspect", [3.0, 0.25])
def test_tiles_of_a_squeezed_picture_have_the_shape_they_had_in_it(aspect: float) -> None:
    """Of a picture 3 wide and 1 high a tile of its whole height is a third of its width."""
    u = torch.from_numpy(np.random.default_rng(0).random((500, DRAWS)).astype(np.float32))
    theta = augment._boxes(u, torch.full((500,), aspect), Ranges(area=0.05, mirror=0))
    width, height = theta[:, 0, 0] * aspect, theta[:, 1, 1]
    shape = width / height
    assert shape.min() >= 3 / 4 - 1e-5
    assert shape.max() <= 4 / 3 + 1e-5
    area = width * height / aspect
    assert area.min() > 0.05 - 1e-5
    assert torch.maximum(theta[:, 0, 0], theta[:, 1, 1]).max() > 0.98  # its whole shorter side
    assert (theta[:, [0, 1], 2].abs() + theta[:, [0, 1], [0, 1]] <= 1 + 1e-5).all()


def test_a_squeezed_circle_is_round_again_in_each_frame() -> None:
    """Discs of pictures twice as wide as high, and of one that was not squeezed."""
    grid = torch.arange(64) - 31.5
    squeezed = ((grid[None, :] * 2) ** 2 + grid[:, None] ** 2 < 20**2).to(torch.uint8) * 255
    plain = (grid[None, :] ** 2 + grid[:, None] ** 2 < 20**2).to(torch.uint8) * 255
    pixels = torch.stack([squeezed, plain])[:, None, ..., None].expand(-1, 2, -1, -1, 3)
    middle = np.full((2, DRAWS), 0.5)
    middle[:, 0] = 1
    x = augmented(pixels, middle, 64, STILL, np.array([2.0, 1.0]))
    for disc in x[:, 0] > 0.5:
        high, wide = disc.any(dim=1).sum(), disc.any(dim=0).sum()
        assert abs(int(high) - int(wide)) <= 1
    assert torch.allclose(x[0], x[1])


def test_frames_of_one_clip_get_the_same_view() -> None:
    frame = pictures()
    clip = frame[:, None].expand(-1, 3, -1, -1, -1)
    x = augmented(clip, draws(6), 24).unflatten(0, (6, 3))
    assert torch.allclose(x[:, 0], x[:, 2], atol=1e-6)
    assert torch.allclose(x[:, 0], augmented(frame, draws(6), 24), atol=1e-5)


def test_quality_tells_collapse_from_an_even_spread() -> None:
    rng = np.random.default_rng(0)
    even = rng.normal(size=(200, 16))
    good = quality(even, even + 0.01 * rng.normal(size=even.shape))
    assert not good.collapsed
    assert good.effective_rank > 14
    assert good.alignment < 0.01
    point = np.ones((200, 16)) + 1e-3 * rng.normal(size=(200, 16))
    assert quality(point, point).collapsed
    line = np.outer(rng.normal(size=200), rng.normal(size=16))
    assert quality(line, line).collapsed
    assert quality(even, even).uniformity < quality(point, point).uniformity


def test_neighbours_vote() -> None:
    x = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], float)
    query = np.array([[1, 0.05], [0, 2]], float)
    assert neighbour_labels(x, np.array([3, 3, 1, 1]), query, k=3).tolist() == [3, 1]
