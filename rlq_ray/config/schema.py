"""The settings of an experiment: frozen, complete and checked before a worker is asked for.

Loads without torch, ray or mlflow. Defaults are the published method (Pathak & Rawat, BMVC 2025) on LTCC; a recipe
changes what it must. Every part of the library receives its own section, never the whole.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Protocol = Literal["general", "cc", "sc"]
Quality = Literal[
    "hq",
    "lq",
    "pixelation",
    "defocus",
    "motion",
    "pixelation-mild",
    "pixelation-medium",
    "pixelation-severe",
    "defocus-mild",
    "defocus-medium",
    "defocus-severe",
    "motion-mild",
    "motion-medium",
    "motion-severe",
]
"""Of query images: as they are, degraded by the mix of a training, by one artefact, or by a third of its range."""


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataConfig(Section):
    """Where images come from and how they are brought to the worker."""

    target: str
    """URI of the labelled data set's shards (a path, `file://…` or `s3://bucket/prefix`)."""
    external: str | None = None
    """URI of the external data set's shards; needed as soon as the schedule has TAD steps."""
    validation_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """Share of the training identities kept to choose the best checkpoint, if the data set has no validation split."""
    validation_seed: int = 0
    """Seed that draws them; apart from `seed`, so that trainings to be compared keep the same ones."""
    canvas_height: Count = 384
    """Pixels: height to which every image is brought when it is decoded."""
    canvas_width: Count = 192
    """Pixels: width to which every image is brought when it is decoded."""
    decode_threads: Count = 2
    """Threads that decode images on each worker."""
    prefetch_batches: Annotated[int, Field(ge=0)] = 3
    """Batches that are made ready ahead of the training step on each worker."""
    decoder: Literal["auto", "cpu", "nvjpeg"] = "auto"
    """What decodes JPEG: `cpu` (libjpeg-turbo), `nvjpeg` (the worker's GPU), or `auto`: the GPU if there is one."""
    read_threads: Count = 4
    """Threads that fetch row groups on each worker, of up to 4 MiB each; more only help where answers take long."""
    read_ahead_batches: Annotated[int, Field(ge=0)] = 8
    """Batches beyond the prefetched ones whose row groups are fetched already."""
    window_mb: Positive | Literal["all"] = 384.0
    """MiB of images, over all workers, among which batches are drawn; a training set that is no larger, or `all`, is
    drawn from as a whole, as the published sampler does."""
    cache_mb: Annotated[int, Field(ge=1)] = 512
    """MiB of encoded row groups that each worker keeps in memory for each data set."""
    disk_cache_mb: Annotated[int, Field(ge=0)] = 0
    """MiB of row groups kept on each node's disk (in `RLQ_CACHE`, else the user's cache folder) and shared by its
    workers, for data sets that lie elsewhere; 0 keeps none."""

    @model_validator(mode="after")
    def _holds_window(self) -> DataConfig:
        if self.window_mb != "all" and self.window_mb > self.cache_mb:
            raise ValueError(
                f"data.window_mb is {self.window_mb:g}, which data.cache_mb={self.cache_mb} cannot hold: "
                "raise data.cache_mb, or lower data.window_mb"
            )
        return self


class BatchConfig(Section):
    """What one optimiser step sees, over all workers together."""

    identities: Annotated[int, Field(ge=2)] = 8
    """Identities P in a CAP batch."""
    images_per_identity: Annotated[int, Field(ge=2)] = 8
    """Images K of each identity in a CAP batch; at least two outfits where the identity has them."""
    external_images: Count = 64
    """Images in a TAD batch."""


class ModelConfig(Section):
    """The network of three branches over one backbone."""

    backbone: Literal["resnet50", "resnet18", "narrow"] = "resnet50"
    """`narrow` is a residual network of 1–2 million parameters for CPUs."""
    narrow_width: Annotated[int, Field(ge=4)] = 16
    """Channels after the stem of the `narrow` backbone; ignored by the others."""
    input_height: Annotated[int, Field(ge=32)] = 384
    """Pixels: height of the network's input."""
    input_width: Annotated[int, Field(ge=16)] = 192
    """Pixels: width of the network's input."""
    weights: str = "imagenet"
    """`imagenet` (torchvision's cache or download), `random`, or the path of a local torchvision state dict."""
    pose_branch: bool = True
    """The third branch with the pose-cluster head."""
    gender_head: bool = True
    """The gender head on the identity branch."""
    single_branch: bool = False
    """One branch for identity and clothes together, as in CAL (Gu et al., CVPR 2022): features of half the length."""
    synchronised_batchnorm: bool = False
    """BatchNorm statistics over all workers; torch offers this on CUDA only."""

    @model_validator(mode="after")
    def _single_branch_stands_alone(self) -> ModelConfig:
        if self.single_branch and (self.pose_branch or self.gender_head):
            beside = "model.pose_branch" if self.pose_branch else "model.gender_head"
            raise ValueError(
                f"model.single_branch is true, and so is {beside}: set {beside}=false, or model.single_branch=false"
            )
        return self

    @property
    def cap_terms(self) -> tuple[str, ...]:
        """Terms of a CAP step from the beginning on; the clothes-adversarial one joins them later."""
        return (
            "identity",
            "triplet",
            *(() if self.single_branch else ("identity_clothes", "agreement")),
            *(("pose", "disentangle") if self.pose_branch else ()),
            *(("gender",) if self.gender_head else ()),
        )


def _require_ordered(name: str, bounds: tuple[float, float]) -> None:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{name} is {bounds}: write the smaller bound first")


class AugmentConfig(Section):
    """Random changes to the training images."""

    enlarge_probability: Probability = 0.5
    """Chance that an image is enlarged and cropped back."""
    enlarge_factor: Annotated[float, Field(ge=1)] = 1.125
    """How much it is enlarged."""
    flip_probability: Probability = 0.5
    """Chance of a mirror image."""
    erase_probability: Probability = 0.5
    """Chance that a rectangle is erased."""
    erase_area: tuple[Positive, Positive] = (0.02, 0.4)
    """Smallest and largest share of the image's area that is erased."""
    erase_aspect: tuple[Positive, Positive] = (0.3, 3.3)
    """Smallest and largest height/width of the erased rectangle."""
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Half width of the range around 1 of a brightness factor; the published method uses none."""
    recolour: bool = True
    """Give every target image a copy in other clothes (needs masks)."""
    recolour_originals: Probability = 0.0
    """Chance that the image beside its copy is put into other clothes too; the published method leaves it as it is."""
    recolour_alpha: Probability = 0.7
    """Weight of the new colour in that copy."""

    @model_validator(mode="after")
    def _ordered(self) -> AugmentConfig:
        _require_ordered("augment.erase_area", self.erase_area)
        _require_ordered("augment.erase_aspect", self.erase_aspect)
        if self.erase_area[1] > 1:
            raise ValueError(f"augment.erase_area ends at {self.erase_area[1]}: an area cannot exceed 1")
        return self


class DegradeConfig(Section):
    """Synthetic low quality: one artefact per image, drawn on the worker's device."""

    pixelation: NonNegative = 0.33
    """Share of images that are pixelated."""
    gaussian: NonNegative = 0.37
    """Share of images out of focus."""
    motion: NonNegative = 0.30
    """Share of images blurred by motion."""
    pixelation_px: tuple[Count, Count] = (16, 63)
    """Pixels: smallest and largest short side to which an image is shrunk."""
    gaussian_kernel_px: tuple[Count, Count] = (5, 21)
    """Pixels: smallest and largest width of the Gaussian kernel, both odd."""
    gaussian_sigma_px: tuple[Positive, Positive] = (0.1, 2.0)
    """Pixels: smallest and largest standard deviation of the Gaussian."""
    motion_px: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (8, 19)
    """Pixels: shortest and longest line of the motion blur."""
    pixels: Literal["original", "canvas"] = "original"
    """Whose pixels the sizes above count: those of the stored image, or those of the canvas it was brought to."""
    target_probability: Probability = 0.0
    """Chance that a target image is degraded in a CAP step: plain augmentation, which TAD has to beat; the published
    method degrades none."""
    distil_degraded: bool = True
    """Whether TAD's second view is degraded; without, it distils on clean images alone, a control."""

    @model_validator(mode="after")
    def _consistent(self) -> DegradeConfig:
        total = self.pixelation + self.gaussian + self.motion
        if abs(total - 1) > 1e-6:
            raise ValueError(f"degrade.pixelation + gaussian + motion is {total:g}: let the three shares sum to 1")
        for name in ("pixelation_px", "gaussian_kernel_px", "gaussian_sigma_px", "motion_px"):
            _require_ordered(f"degrade.{name}", getattr(self, name))
        even = [size for size in self.gaussian_kernel_px if size % 2 == 0]
        if even:
            raise ValueError(f"degrade.gaussian_kernel_px has the even size {even[0]}: a centred kernel is odd")
        return self


class LossWeights(Section):
    """Factor of every term; 0 leaves the term out.

    Each phase needs a term: `ModelConfig.cap_terms` and `TAD_TERMS` list them.
    """

    identity_clothes: NonNegative = 1.0
    """CAP: cross entropy of the identity on the clothes branch."""
    identity: NonNegative = 1.0
    """CAP: cross entropy of the identity on the identity branch."""
    pose: NonNegative = 1.0
    """CAP: cross entropy of the pose cluster."""
    gender: NonNegative = 1.0
    """CAP: cross entropy of the gender."""
    agreement: NonNegative = 1.0
    """CAP: KL between the identity logits of the two branches."""
    disentangle: NonNegative = 1.0
    """CAP: |cos| between identity and pose features."""
    triplet: NonNegative = 1.0
    """CAP: batch-hard triplet on the identity features of all workers."""
    clothes_adversarial: NonNegative = 1.0
    """CAP: clothes-adversarial loss (Gu et al., CVPR 2022) on the clothes branch."""
    feature_hq: NonNegative = 1.0
    """TAD: distance of the student's features of clean images to the teacher's."""
    feature_lq: NonNegative = 1.0
    """TAD: distance of the student's features of degraded images to the teacher's."""
    feature_self: NonNegative = 0.0
    """TAD: distance of the student's features of degraded images to its own of clean ones, which are held still; takes
    the teacher's place where `feature_hq` and `feature_lq` are 0. The published method has none."""
    agreement_lq: NonNegative = 1.0
    """TAD: KL between the identity logits of degraded and clean images, both branches."""
    agreement_clothes: NonNegative = 0.0
    """TAD: the same for the clothes logits; trains nothing in the published code, hence 0."""


TAD_TERMS = ("feature_hq", "feature_lq", "feature_self", "agreement_lq")
"""Terms of a TAD step from the beginning on."""


class LossConfig(Section):
    """Constants of the formulas."""

    weights: LossWeights = LossWeights()
    """Factor of every term."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Epsilon of all four cross entropies."""
    triplet_margin: NonNegative = 0.3
    """Margin on 1 − cos."""
    agreement_temperature: Positive = 0.8
    """Temperature of the logit agreement."""
    agreement_scale: Positive = 0.64
    """Factor of the logit agreement, beside temperature²."""
    clothes_scale: Positive = 16.0
    """Scale of the cosine clothes classifier."""
    clothes_epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Weight spread over all clothes of the same identity in the adversarial loss."""
    clothes_from_epoch: Annotated[int, Field(ge=0)] = 25
    """First CAP epoch (from 0) with clothes classifier and adversarial loss."""


class ScheduleConfig(Section):
    """How CAP and TAD steps alternate: in cycles, TAD first as published."""

    cap_steps: Count = 1
    """CAP units in a cycle."""
    tad_steps: Annotated[int, Field(ge=0)] = 1
    """TAD units in a cycle; 0 trains CAP alone."""
    granularity: Literal["step", "epoch"] = "epoch"
    """Whether a unit is one optimiser step, or one pass over the phase's data as published."""
    external: Literal["tad", "joint"] = "tad"
    """What TAD units do with the external set: `tad` distils from the teacher, `joint` trains on the external set's own
    labels as a CAP step does on the target's, a control for what those labels are worth."""


class OptimizerConfig(Section):
    """Adam and its learning rate over CAP epochs."""

    kind: Literal["adam", "adamw"] = "adam"
    """`adam` adds the decay to the gradient, `adamw` decouples it."""
    learning_rate: Positive = 3.5e-4
    """Rate after warm-up."""
    weight_decay: NonNegative = 5e-4
    """Decay of all parameters."""
    curve: Literal["milestones", "cosine"] = "milestones"
    """`milestones` multiplies by `gamma` at each milestone; `cosine` falls to 0.5 % at the end."""
    milestones: tuple[Count, ...] = (20, 40)
    """CAP epochs at which the rate falls."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor at each milestone."""
    warmup_epochs: NonNegative = 0.0
    """CAP epochs over which the rate rises linearly from nearly 0."""


class TrainConfig(Section):
    """Length, precision and rhythm of a training."""

    epochs: Count = 200
    """CAP epochs; one is a pass over the target's training identities."""
    steps_per_epoch: Count | None = None
    """CAP steps that make an epoch; by default as many as it takes to show as many images as the training set has."""
    evaluate_every_epochs: Count = 10
    """CAP epochs between evaluations on the validation identities, and so between checkpoints."""
    log_every_steps: Count = 10
    """Optimiser steps between writings to the tracker (each step's losses are kept and written together)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` runs networks under autocast; losses and weights stay fp32."""
    channels_last: bool = True
    """Memory layout of images and convolutions."""


class EvaluateConfig(Section):
    """How a model is measured."""

    protocols: tuple[Protocol, ...] = ("general", "cc", "sc")
    """Which gallery images count for a query."""
    select_on: Protocol = "cc"
    """Protocol whose mAP on the validation identities chooses the checkpoint."""
    qualities: tuple[Quality, ...] = ("hq", "lq")
    """Of the queries, which are compared with the gallery as it is."""
    batch_images: Count = 128
    """Images at a time on each worker."""
    bootstrap_samples: Annotated[int, Field(ge=0)] = 1000
    """Resamplings of the query identities for the 95 % intervals."""
    degrade_seed: int = 7
    """Seed of the one draw that degrades the queries."""
    test_curve: bool = False
    """Measure the test identities at every evaluation too, for the record alone; it never chooses a checkpoint."""


class WorkersConfig(Section):
    """The Ray Train workers of one training."""

    count: Count = 2
    """Number of workers; batches are shared out evenly among them."""
    cpus: Positive = 1
    """CPUs of each worker."""
    gpu: bool | None = None
    """One GPU per worker; by default when the cluster has enough of them."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Times a training is resumed from its last checkpoint after a worker died."""
    checkpoints_to_keep: Annotated[int, Field(ge=1)] = 2
    """Best checkpoints kept, by the validation score; the latest stays besides."""


class ExperimentConfig(Section):
    """One training, whole."""

    name: str = "rlq"
    """Name of the recipe; a run is named after it unless told otherwise."""
    seed: int = 0
    """Seed of weights, order, augmentation and degradation."""
    teacher: str | None = None
    """URI of the teacher's checkpoint; needed as soon as TAD pulls features towards it."""
    start_from: str | None = None
    """URI of a checkpoint whose layers the network begins with, heads excepted, or `teacher` for the teacher's; by
    default it begins with `model.weights`."""
    data: DataConfig
    batch: BatchConfig = BatchConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    degrade: DegradeConfig = DegradeConfig()
    loss: LossConfig = LossConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    workers: WorkersConfig = WorkersConfig()

    @property
    def distils(self) -> bool:
        """Whether there are TAD steps."""
        return self.schedule.tad_steps > 0 and self.schedule.external == "tad"

    @property
    def needs_teacher(self) -> bool:
        """Whether TAD pulls features towards a teacher's."""
        return self.distils and bool(self.loss.weights.feature_hq or self.loss.weights.feature_lq)

    @property
    def initial_checkpoint(self) -> str | None:
        """URI of the checkpoint whose layers the network begins with."""
        return self.teacher if self.start_from == "teacher" else self.start_from

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        if self.schedule.tad_steps and self.model.single_branch:
            raise ValueError(
                f"schedule.tad_steps is {self.schedule.tad_steps}, but model.single_branch is true and TAD pulls two "
                "branches: set schedule.tad_steps=0, or model.single_branch=false"
            )
        if self.schedule.tad_steps and not self.data.external:
            raise ValueError(
                f"schedule.tad_steps is {self.schedule.tad_steps} but data.external is not set: "
                "name the external data set, or set schedule.tad_steps=0"
            )
        if self.needs_teacher and not self.teacher:
            raise ValueError(
                f"schedule.tad_steps is {self.schedule.tad_steps} but teacher is not set: "
                "name the teacher's checkpoint, or set schedule.tad_steps=0"
            )
        if self.start_from == "teacher" and not self.teacher:
            raise ValueError(
                "start_from is 'teacher' but teacher is not set: name the teacher's checkpoint, or leave start_from out"
            )
        if self.schedule.tad_steps and self.schedule.external == "joint" and self.model.pose_branch:
            raise ValueError(
                "schedule.external is 'joint' with model.pose_branch: the pose clusters of two data sets are not the "
                "same; set model.pose_branch=false"
            )
        for phase, terms in (("CAP", self.model.cap_terms), *((("TAD", TAD_TERMS),) if self.distils else ())):
            if not any(getattr(self.loss.weights, term) for term in terms):
                raise ValueError(f"all loss.weights of {phase} are 0: give one of {', '.join(terms)} a weight")
        for name, value in (
            ("batch.identities", self.batch.identities),
            ("batch.external_images", self.batch.external_images),
        ):
            if value % self.workers.count:
                raise ValueError(
                    f"{name} is {value}, which {self.workers.count} workers cannot share evenly: "
                    f"take a multiple of {self.workers.count}, or change workers.count"
                )
        if self.evaluate.select_on not in self.evaluate.protocols:
            raise ValueError(
                f"evaluate.select_on is '{self.evaluate.select_on}', which evaluate.protocols lacks: add it there"
            )
        return self
