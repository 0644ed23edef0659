"""Named sizes and difficulties of the rendered data set. Plain values; knows nothing of rendering.

Skin and hair never change clothes, so cameras must differ in tint and gain for people to be more than their colours:
at `default`, seed 0, histograms of skin and hair with exact masks reach a clothes-changing mAP of 12 %. It would be
37 % if all pictures were exposed alike, 22 % with `tint_deviation` .03, and 9 % with tint and gain of `hard`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """How many people, how large, how hard.

    Attributes:
        height: image height in pixels.
        width: image width in pixels.
        supersample: samples per pixel and axis.
        train_identities: people who are seen in training.
        test_identities: people who are queried; none of them is a training identity.
        external_identities: people of the external population, all seen in training; 0: as many as the target's, and
            split like them.
        outfits: outfits per identity.
        cameras_per_outfit: cameras that see one outfit; all cameras of one identity differ.
        frames: images per identity, outfit and camera.
        cameras: cameras in the scene.
        view_probabilities: of front, three-quarter and back view, sum 1.
        view_jitter_rad: standard deviation of the heading around that view.
        tint_deviation: standard deviation of a camera's gain per colour channel.
        gain_range: brightness of a camera.
        max_looseness_m: how far the loosest cloth stands off the body.
        hat_probability: share of outfits with a hat.
        bag_probability: share of outfits with a backpack.
    """

    name: str
    height: int
    width: int
    supersample: int
    train_identities: int
    test_identities: int
    outfits: int
    cameras_per_outfit: int
    frames: int
    cameras: int = 8
    view_probabilities: tuple[float, float, float] = (0.5, 0.35, 0.15)
    view_jitter_rad: float = 0.3
    tint_deviation: float = 0.03
    gain_range: tuple[float, float] = (0.85, 1.15)
    max_looseness_m: float = 0.02
    hat_probability: float = 0.04
    bag_probability: float = 0.08
    external_identities: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot give a clothes-changing task."""
        if self.outfits < 2:
            raise ValueError(f"outfits={self.outfits}: a clothes-changing match needs at least 2 outfits")
        if self.cameras_per_outfit < 2:
            raise ValueError(f"cameras_per_outfit={self.cameras_per_outfit}: query and gallery need at least 2 cameras")
        if self.outfits * self.cameras_per_outfit > self.cameras:
            raise ValueError(
                f"{self.outfits} outfits × {self.cameras_per_outfit} cameras need as many cameras, not {self.cameras}:"
                " raise cameras"
            )

    @property
    def images_per_identity(self) -> int:
        """Images of one identity over all outfits, cameras and frames."""
        return self.outfits * self.cameras_per_outfit * self.frames


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("tiny", 128, 64, 1, train_identities=8, test_identities=8, outfits=2, cameras_per_outfit=2, frames=1),
        Preset(
            "small", 128, 64, 2, train_identities=160, test_identities=60, outfits=3, cameras_per_outfit=2, frames=2
        ),
        Preset(
            "default",
            128,
            64,
            2,
            train_identities=250,
            test_identities=150,
            outfits=3,
            cameras_per_outfit=2,
            frames=3,
            tint_deviation=0.07,
            external_identities=600,
        ),
        Preset(
            "hard",
            256,
            128,
            2,
            train_identities=250,
            test_identities=150,
            outfits=3,
            cameras_per_outfit=2,
            frames=3,
            view_probabilities=(0.34, 0.33, 0.33),
            view_jitter_rad=0.6,
            tint_deviation=0.07,
            gain_range=(0.7, 1.3),
            max_looseness_m=0.05,
            hat_probability=0.25,
            bag_probability=0.25,
        ),
    )
}
