"""The augmenter: canvas to network input, whatever batch, worker or memory layout."""

import pytest
import torch

from rlq_ray.augment import Augmenter, draw
from rlq_ray.augment.functional import normalise, resize
from rlq_ray.config.schema import AugmentConfig

NOTHING = AugmentConfig(enlarge_probability=0, flip_probability=0, erase_probability=0)
EVERYTHING = AugmentConfig(brightness=0.3)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (12, 3, 64, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_refuses_other_images_and_other_draws(images) -> None:
    augmenter = Augmenter(EVERYTHING, 48, 24)
    with pytest.raises(ValueError, match="pass uint8 RGB"):
        augmenter.test(images.float())
    with pytest.raises(ValueError, match="pass uint8 RGB"):
        augmenter.train(images[:, :1], draw(12, EVERYTHING, _generator()))
    with pytest.raises(ValueError, match="12 images but a draw for 11"):
        augmenter.train(images, draw(11, EVERYTHING, _generator()))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_gives_the_input_of_the_network_in_the_same_layout(images, layout, device) -> None:
    augmenter = Augmenter(EVERYTHING, 48, 24)
    image = images.to(device).contiguous(memory_format=layout)
    for out in (augmenter.train(image, draw(12, EVERYTHING, _generator())), augmenter.test(image)):
        assert out.shape == (12, 3, 48, 24)
        assert out.dtype == torch.float32
        assert out.is_contiguous(memory_format=layout)


def test_both_layouts_give_the_same_values(images) -> None:
    augmenter, drawn = Augmenter(EVERYTHING, 48, 24), draw(12, EVERYTHING, _generator())
    interleaved = augmenter.train(images.contiguous(memory_format=torch.channels_last), drawn)
    torch.testing.assert_close(interleaved, augmenter.train(images, drawn), rtol=0, atol=1.01 / 255 / 0.224)


def test_changes_nothing_at_chance_0(images) -> None:
    augmenter = Augmenter(NOTHING, 48, 24)
    out = augmenter.train(images, draw(12, NOTHING, _generator()))
    assert torch.equal(out, augmenter.test(images))
    assert torch.equal(out, normalise(resize(images, 48, 24)))


def test_a_certain_flip_mirrors(images) -> None:
    config = AugmentConfig(enlarge_probability=0, flip_probability=1, erase_probability=0)
    augmenter = Augmenter(config, 48, 24)
    assert torch.equal(augmenter.train(images, draw(12, config, _generator())), augmenter.test(images).flip(3))


def test_a_certain_erasing_leaves_the_rest(images) -> None:
    config = AugmentConfig(enlarge_probability=0, flip_probability=0, erase_probability=1)
    augmenter = Augmenter(config, 48, 24)
    out, plain = augmenter.train(images, draw(12, config, _generator())), augmenter.test(images)
    fill = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
    erased = (out == fill).all(dim=1, keepdim=True)
    assert torch.equal(torch.where(erased, plain, out), plain)
    share = erased.float().mean(dim=(1, 2, 3))
    assert (share > 0.01).all()
    assert (share < 0.45).all()


def test_replays_and_leaves_its_input_alone(images) -> None:
    augmenter, before = Augmenter(EVERYTHING, 64, 32), images.clone()
    drawn = draw(12, EVERYTHING, _generator())
    assert torch.equal(augmenter.train(images, drawn), augmenter.train(images, drawn))
    assert torch.equal(images, before)


def test_workers_shares_make_up_the_global_batch(images) -> None:
    augmenter, drawn = Augmenter(EVERYTHING, 48, 24), draw(12, EVERYTHING, _generator())
    parts = [augmenter.train(images[i : i + 4], drawn.slice(i, i + 4)) for i in (0, 4, 8)]
    assert torch.equal(torch.cat(parts), augmenter.train(images, drawn))
