"""Draws: ranges, shares, replay, slices, and independence of batch and worker."""

from dataclasses import fields

import pytest
import torch

from rlq_ray.config.schema import DegradeConfig
from rlq_ray.degrade import GAUSSIAN, MOTION, PIXELATION, DegradeDraw, draw, draw_for_rows


def _equal(a: DegradeDraw, b: DegradeDraw) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(DegradeDraw))


def _draw(num: int, config: DegradeConfig, how: str) -> DegradeDraw:
    if how == "rows":
        return draw_for_rows(torch.arange(num), config, seed=7)
    return draw(num, config, torch.Generator().manual_seed(7))


@pytest.mark.parametrize("how", ["rows", "generator"])
def test_draws_every_value_of_every_range_in_its_share(how) -> None:
    config = DegradeConfig()
    drawn = _draw(20_000, config, how)
    assert drawn.short_side_B.unique().tolist() == list(range(16, 64))
    assert drawn.kernel_px_B.unique().tolist() == list(range(5, 22, 2))
    assert drawn.length_B.unique().tolist() == list(range(8, 20))
    assert drawn.angle_B.unique().tolist() == list(range(180))
    assert 0.1 <= drawn.sigma_B.min() < 0.11
    assert 1.99 < drawn.sigma_B.max() <= 2
    shares = torch.bincount(drawn.kind_B.long(), minlength=3) / 20_000
    # Four standard deviations of a share of 20,000.
    torch.testing.assert_close(shares, torch.tensor([0.33, 0.37, 0.30]), atol=0.014, rtol=0)
    # Each value as often as the others, and no parameter tied to another.
    counts = torch.bincount(drawn.length_B)[8:].float()
    assert (counts - 20_000 / 12).abs().max() < 5 * (20_000 / 12) ** 0.5
    columns = torch.stack([getattr(drawn, f.name).double() for f in fields(drawn)])
    assert (torch.corrcoef(columns) - torch.eye(6)).abs().max() < 0.035
    # Nor to a parameter of the next image.
    beside_the_next = torch.corrcoef(torch.cat([columns[:, :-1], columns[:, 1:]]))[:6, 6:]
    assert beside_the_next.abs().max() < 0.035


@pytest.mark.parametrize(
    ("shares", "kinds"),
    [
        ((1, 0, 0), [PIXELATION]),
        ((0, 1, 0), [GAUSSIAN]),
        ((0, 0, 1), [MOTION]),
        ((0.5, 0.5, 0), [PIXELATION, GAUSSIAN]),
    ],
)
def test_an_artefact_with_share_0_is_never_drawn(shares, kinds) -> None:
    config = DegradeConfig(pixelation=shares[0], gaussian=shares[1], motion=shares[2])
    assert _draw(1000, config, "generator").kind_B.unique().tolist() == kinds


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    config = DegradeConfig()
    assert _equal(_draw(50, config, "generator"), _draw(50, config, "generator"))
    row_B = torch.arange(50)
    assert _equal(draw_for_rows(row_B, config, 7), draw_for_rows(row_B, config, 7))
    assert not _equal(draw_for_rows(row_B, config, 7), draw_for_rows(row_B, config, 8))


def test_a_draw_for_rows_does_not_depend_on_the_others_of_the_batch() -> None:
    config = DegradeConfig()
    whole = draw_for_rows(torch.arange(100), config, 7)
    part = draw_for_rows(torch.tensor([93, 5, 41]), config, 7)
    assert _equal(part, whole.take(torch.tensor([93, 5, 41])))


def test_every_image_consumes_the_same_randomness() -> None:
    one_kind, mixed = DegradeConfig(pixelation=1, gaussian=0, motion=0), DegradeConfig()
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    draw(8, one_kind, first)
    draw(8, mixed, second)
    assert torch.equal(first.get_state(), second.get_state())


def test_slices_make_up_the_whole() -> None:
    whole = _draw(12, DegradeConfig(), "generator")
    parts = [whole.slice(start, start + 4) for start in (0, 4, 8)]
    assert [len(part) for part in parts] == [4, 4, 4]
    joined = DegradeDraw(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(DegradeDraw)))
    assert _equal(joined, whole)


def test_moves_to_a_device() -> None:
    moved = _draw(3, DegradeConfig(), "generator").to(torch.device("meta"))
    assert all(getattr(moved, f.name).device.type == "meta" for f in fields(moved))
