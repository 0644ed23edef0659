"""Other clothes: colours by hand, labels, faulty masks."""

import pytest
import torch

from rlq_ray.augment import COLOURS, NUM_PAIRS, draw_pairs, recolour, recoloured_clothes

NAMES = list(COLOURS)
RED_ON_BLUE = NAMES.index("red") * 9 + NAMES.index("blue")


def _masks(num: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Shirt in the upper, trousers in the lower left pixel of 2 × 2 images."""
    shirt, trousers = torch.zeros(2, num, 1, 2, 2, dtype=torch.bool)
    shirt[:, 0, 0, 0] = True
    trousers[:, 0, 1, 0] = True
    return shirt, trousers


def _grey(num: int = 1, value: int = 100) -> torch.Tensor:
    return torch.full((num, 3, 2, 2), value, dtype=torch.uint8)


NOT_FAULTY = torch.tensor([False])


def test_refuses_other_images_and_other_masks() -> None:
    shirt, trousers = _masks()
    pair = torch.tensor([0])
    with pytest.raises(ValueError, match="pass uint8 RGB"):
        recolour(_grey().float(), shirt, trousers, NOT_FAULTY, pair, 0.7)
    with pytest.raises(ValueError, match="trousers mask is"):
        recolour(_grey(), shirt, trousers[..., :1], NOT_FAULTY, pair, 0.7)


def test_blends_the_pair_s_colours_by_hand() -> None:
    out = recolour(_grey(), *_masks(), NOT_FAULTY, torch.tensor([RED_ON_BLUE]), 0.7)
    # 0.3 · 100 + 0.7 · 255 = 208.5, rounded to even.
    assert out[0, :, 0, 0].tolist() == [208, 30, 30]
    assert out[0, :, 1, 0].tolist() == [30, 30, 208]
    assert (out[..., 1] == 100).all()


def test_alpha_0_changes_nothing_and_1_paints() -> None:
    pair = torch.tensor([RED_ON_BLUE])
    assert torch.equal(recolour(_grey(), *_masks(), NOT_FAULTY, pair, 0.0), _grey())
    assert recolour(_grey(), *_masks(), NOT_FAULTY, pair, 1.0)[0, :, 0, 0].tolist() == [255, 0, 0]


def test_faulty_masks_get_the_shirt_s_colour_all_over_and_its_label() -> None:
    pair = torch.tensor([RED_ON_BLUE])
    out = recolour(_grey(), *_masks(), torch.tensor([True]), pair, 0.7)
    assert out[0, :, 0, 0].tolist() == out[0, :, 1, 0].tolist() == [208, 30, 30]
    red_on_red = NAMES.index("red") * 10
    label = recoloured_clothes(pair, torch.tensor([2]), 50, torch.tensor([True]))
    assert label.tolist() == [50 + 81 * 2 + red_on_red]


def test_shading_keeps_the_light_and_dark_of_each_garment_by_hand() -> None:
    image = torch.tensor([[40, 120], [30, 90], [200, 200]], dtype=torch.uint8)[None, None].expand(1, 3, 3, 2).clone()
    shirt, trousers = torch.zeros(2, 1, 1, 3, 2, dtype=torch.bool)
    shirt[..., 0, :] = True  # luma 40 and 120: 0.5 and 1.5 times their mean
    trousers[..., 1, :] = True  # luma 30 and 90
    pair = torch.tensor([NAMES.index("green") * 9 + NAMES.index("orange")])
    out = recolour(image, shirt, trousers, NOT_FAULTY, pair, 1.0, shading=True)
    assert out[0, :, 0].T.tolist() == [[0, 64, 0], [0, 192, 0]]
    assert out[0, :, 1].T.tolist() == [[128, 82, 0], [255, 248, 0]], "255 · 1.5 is clipped"
    assert torch.equal(out[0, :, 2], image[0, :, 2])


def test_shading_of_evenly_lit_clothes_is_the_published_colour() -> None:
    arguments = (*_masks(), NOT_FAULTY, torch.tensor([RED_ON_BLUE]), 0.7)
    assert torch.equal(recolour(_grey(), *arguments, shading=True), recolour(_grey(), *arguments))
    black = recolour(_grey(value=0), *arguments, shading=True)
    assert black[0, :, 0, 0].tolist() == [0, 0, 0], "black clothes have no light to keep, and divide by nothing"


def test_labels_are_distinct_for_every_identity_and_pair() -> None:
    pair, identity = torch.arange(81).repeat(4), torch.arange(4).repeat_interleave(81)
    labels = recoloured_clothes(pair, identity, num_clothes=7)
    assert labels.tolist() == list(range(7, 7 + 81 * 4))


def test_no_mask_no_change_and_the_shirt_wins_an_overlap() -> None:
    shirt, trousers = _masks()
    pair = torch.tensor([RED_ON_BLUE])
    assert torch.equal(recolour(_grey(), shirt & False, trousers & False, NOT_FAULTY, pair, 0.7), _grey())
    assert recolour(_grey(), shirt, shirt, NOT_FAULTY, pair, 1.0)[0, :, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_keeps_layout_and_type_and_reads_no_value_off_the_cpu(layout, device) -> None:
    image = _grey(4).to(device).contiguous(memory_format=layout)
    shirt, trousers = (mask.to(device) for mask in _masks(4))
    faulty, pair = torch.zeros(4, dtype=torch.bool, device=device), torch.arange(4, device=device)
    for shading in (False, True):
        out = recolour(image, shirt, trousers, faulty, pair, 0.7, shading=shading)
    assert out.dtype == torch.uint8
    assert out.shape == image.shape
    assert out.is_contiguous(memory_format=layout)


def test_draws_every_pair_and_replays() -> None:
    pairs = draw_pairs(5000, torch.Generator().manual_seed(0))
    assert pairs.unique().tolist() == list(range(NUM_PAIRS))
    assert torch.equal(pairs, draw_pairs(5000, torch.Generator().manual_seed(0)))
