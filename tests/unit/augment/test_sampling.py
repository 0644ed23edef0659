"""Draws: chances, ranges, replay and slices."""

from dataclasses import fields

import pytest
import torch

from rlq_ray.augment import AugmentDraw, draw, draw_for_rows
from rlq_ray.augment.functional import erase_rectangles
from rlq_ray.config.schema import AugmentConfig


def _draw(num: int, config: AugmentConfig, seed: int = 0) -> AugmentDraw:
    return draw(num, config, torch.Generator().manual_seed(seed))


def _values(drawn: AugmentDraw) -> list[torch.Tensor]:
    return [getattr(drawn, f.name) for f in fields(drawn)]


def _equal(a: AugmentDraw, b: AugmentDraw) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(AugmentDraw))


def test_draws_within_the_ranges_at_the_configured_rate() -> None:
    config = AugmentConfig(flip_probability=0.2, enlarge_probability=0.5, erase_probability=0.8, brightness=0.3)
    drawn = _draw(10_000, config)
    for chosen, rate in ((drawn.flip_B, 0.2), (drawn.enlarge_B, 0.5), (drawn.erase_B, 0.8)):
        assert abs(chosen.float().mean() - rate) < 0.02  # four standard deviations
    for values, smallest, largest in (
        (drawn.offset_B2, 0, 1),
        (drawn.erase_area_BT, 0.02, 0.4),
        (drawn.erase_aspect_BT, 0.3, 3.3),
        (drawn.erase_offset_BT2, 0, 1),
        (drawn.brightness_B, 0.7, 1.3),
    ):
        assert smallest - 1e-6 <= values.min() < smallest + 0.01
        assert largest - 0.01 < values.max() <= largest + 1e-6


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_chances_of_0_and_1_are_never_and_always(chance) -> None:
    config = AugmentConfig(flip_probability=chance, enlarge_probability=chance, erase_probability=chance)
    drawn = _draw(500, config)
    assert [bool(x.any()) for x in (drawn.flip_B, drawn.enlarge_B, drawn.erase_B)] == [bool(chance)] * 3
    assert [bool(x.all()) for x in (drawn.flip_B, drawn.enlarge_B, drawn.erase_B)] == [bool(chance)] * 3
    assert drawn.brightness_B.unique().tolist() == [1.0]


def test_one_of_the_tries_nearly_always_fits() -> None:
    drawn = _draw(10_000, AugmentConfig(erase_probability=1))
    rectangles = erase_rectangles(
        drawn.erase_B, drawn.erase_area_BT, drawn.erase_aspect_BT, drawn.erase_offset_BT2, (384, 192)
    )
    top, left, height, width = rectangles.unbind(1)
    assert (height > 0).float().mean() > 0.999
    assert ((top >= 0) & (top + height <= 384) & (left >= 0) & (left + width <= 192)).all()


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    config = AugmentConfig()
    assert _equal(_draw(20, config, 1), _draw(20, config, 1))
    assert not _equal(_draw(20, config, 1), _draw(20, config, 2))


def test_a_numbered_draw_is_that_of_its_row_alone_and_spread_like_any_other() -> None:
    config = AugmentConfig(flip_probability=0.2, erase_probability=1.0, brightness=0.3)
    row = torch.arange(10_000)
    drawn, other = draw_for_rows(row, config, 3), draw_for_rows(row, config, 4)
    assert _equal(draw_for_rows(row.flip(0)[:7], config, 3), AugmentDraw(*(x.flip(0)[:7] for x in _values(drawn))))
    assert abs((drawn.flip_B != other.flip_B).float().mean() - 2 * 0.2 * 0.8) < 0.02
    assert abs(torch.corrcoef(torch.stack([drawn.brightness_B, other.brightness_B]))[0, 1]) < 0.04
    assert bool(drawn.erase_B.all()), "a chance of 1 is always"
    assert abs(drawn.flip_B.float().mean() - 0.2) < 0.02
    assert 0.7 <= drawn.brightness_B.min() < 0.71
    assert 1.29 < drawn.brightness_B.max() < 1.3
    assert {x.dtype for x in _values(drawn)} == {x.dtype for x in _values(_draw(1, config))}


def test_every_image_consumes_the_same_randomness() -> None:
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    draw(8, AugmentConfig(erase_probability=0, flip_probability=0, enlarge_probability=0), first)
    draw(8, AugmentConfig(), second)
    assert torch.equal(first.get_state(), second.get_state())


def test_slices_make_up_the_whole() -> None:
    whole = _draw(12, AugmentConfig())
    parts = [whole.slice(start, start + 4) for start in (0, 4, 8)]
    assert [len(part) for part in parts] == [4, 4, 4]
    joined = AugmentDraw(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(AugmentDraw)))
    assert _equal(joined, whole)


def test_moves_to_a_device() -> None:
    moved = _draw(3, AugmentConfig()).to(torch.device("meta"))
    assert all(getattr(moved, f.name).device.type == "meta" for f in fields(moved))
