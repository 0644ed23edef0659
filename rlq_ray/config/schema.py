"""The settings of an experiment: frozen, complete and checked before a worker is asked for.

Loads without torch, ray or mlflow. Defaults are the published method (Pathak & Rawat, BMVC 2025) on LTCC; a recipe
changes what it must. Every part of the library receives its own section, never the whole.
"""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlq_ray.config.images import AugmentConfig, DegradeConfig, Quality
from rlq_ray.config.model import ModelConfig
from rlq_ray.config.objective import TAD_TERMS, LossConfig, LossWeights
from rlq_ray.config.schedule import (
    OptimizerConfig,
    ScheduleConfig,
    StageConfig,
    Staged,
    TrainConfig,
    first_clothes_epoch,
    require_possible,
)
from rlq_ray.config.section import Count, Positive, Section

__all__ = [
    "TAD_TERMS",
    "AugmentConfig",
    "BatchConfig",
    "DataConfig",
    "DegradeConfig",
    "EvaluateConfig",
    "ExperimentConfig",
    "LossConfig",
    "LossWeights",
    "ModelConfig",
    "OptimizerConfig",
    "Protocol",
    "Quality",
    "ScheduleConfig",
    "Section",
    "StageConfig",
    "Staged",
    "TrainConfig",
    "WorkersConfig",
    "first_clothes_epoch",
]

Protocol = Literal["general", "cc", "sc"]


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
    least: Annotated[Count | None, Field(exclude_if=operator.not_)] = None
    """Workers with which a training begins, or goes on when nodes are gone, until there is room for `count` again; by
    default it waits for that. With `model.synchronised_batchnorm` their number changes no result beyond rounding."""
    resize_every_s: Annotated[Positive, Field(exclude_if=(60.0).__eq__)] = 60.0
    """Seconds between looks for room for more workers; taking it goes back to the last checkpoint."""
    cpus: Positive = 1
    """CPUs of each worker."""
    gpu: bool | None = None
    """One GPU per worker; by default when the cluster has enough of them."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Times that a training goes on from its last checkpoint after a worker died; one of a sweep also if its worker
    dies before it begins."""
    checkpoints_to_keep: Annotated[int, Field(ge=1)] = 2
    """Best checkpoints kept, by the validation score; the latest stays besides."""

    @property
    def counts(self) -> range:
        """How many workers there may be."""
        return range(self.least or self.count, self.count + 1)

    @model_validator(mode="after")
    def _least_is_no_more(self) -> WorkersConfig:
        if not self.counts:
            raise ValueError(f"workers.least is {self.least}, more than workers.count={self.count}: lower it")
        return self


class ExperimentConfig(Section):
    """One training, whole."""

    name: str = "rlq"
    """Name of the recipe; a run is named after it unless told otherwise."""
    seed: int = 0
    """Seed of weights, order, augmentation and degradation."""
    teacher: str | None = None
    """URI of the teacher's checkpoint; needed as soon as TAD pulls features towards it."""
    # Without draws, plain values and keys stay those of the time before there were any; the same goes for stages below.
    teacher_draws: Annotated[int, Field(ge=0, exclude_if=operator.not_)] = 0
    """Views of each external image that TAD shows clean; 0 draws one anew at every visit. With N, epoch e over the
    external set shows view e mod N, the same one in every training, and the teacher's features of it are computed once
    into the store, for all trainings with the same teacher, images and augmentation. On rendered people (`rlq_1_2`, 8
    CAP epochs, four visits to an image) one, two and eight views scored 28.4, 28.6 and 28.8 LQ mAP, and 0 28.2: means
    of two seeds, whose trainings scatter by 0.6; trainings that visit an image more often were not measured."""
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
    stages: Annotated[tuple[StageConfig, ...], Field(exclude_if=operator.not_)] = ()
    """What changes on the way, each stage from a later CAP epoch on than the one before."""

    @property
    def staged_schedule(self) -> Staged[ScheduleConfig]:
        """The alternation by CAP epoch."""
        return Staged.of(self.schedule, self.stages, StageConfig.change_schedule)

    @property
    def staged_optimizer(self) -> Staged[OptimizerConfig]:
        """The optimiser's settings by CAP epoch."""
        return Staged.of(self.optimizer, self.stages, StageConfig.change_optimizer)

    @property
    def staged_loss(self) -> Staged[LossConfig]:
        """Weights and constants of the losses by CAP epoch."""
        return Staged.of(self.loss, self.stages, StageConfig.change_loss)

    @property
    def distils(self) -> bool:
        """Whether there are TAD steps."""
        return self.schedule.tad_steps > 0 and self.schedule.external == "tad"

    @property
    def needs_teacher(self) -> bool:
        """Whether TAD pulls features towards a teacher's, in any stage."""
        return self.distils and any(loss.weights.look_at_teacher for loss in self.staged_loss.values)

    @property
    def caches_teacher(self) -> bool:
        """Whether TAD looks up the teacher's features instead of computing them."""
        return self.needs_teacher and self.teacher_draws > 0

    @property
    def shown_to_teacher(self) -> dict[str, Any]:
        """Settings that shape the pixels which TAD shows a teacher, and the precision in which it looks at them."""
        data, augment = self.data, self.augment.model_dump(mode="json")
        return {
            "augment": {key: value for key, value in augment.items() if not key.startswith("recolour")},
            "canvas": [data.canvas_height, data.canvas_width, data.decoder],
            "input": [self.model.input_height, self.model.input_width],
            "precision": self.train.precision,
        }

    @property
    def terms(self) -> tuple[str, ...]:
        """Losses that the steps can have, whatever their weights."""
        tad_terms = (*TAD_TERMS, "agreement_clothes") if self.distils else ()
        return (*self.model.cap_terms, "clothes_adversarial", *tad_terms)

    @property
    def initial_checkpoint(self) -> str | None:
        """URI of the checkpoint whose layers the network begins with."""
        return self.teacher if self.start_from == "teacher" else self.start_from

    @model_validator(mode="after")
    def _stages_possible(self) -> ExperimentConfig:
        require_possible(self.stages, self.schedule, self.train.epochs, self.terms)
        return self

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
        for name, value in (
            ("batch.identities", self.batch.identities),
            ("batch.external_images", self.batch.external_images),
        ):
            for count in self.workers.counts:
                if value % count:
                    setting = "workers.least" if self.workers.least else "workers.count"
                    raise ValueError(
                        f"{name} is {value}, which {count} workers cannot share evenly: "
                        f"take a multiple of {math.lcm(*self.workers.counts)}, or change {setting}"
                    )
        if self.evaluate.select_on not in self.evaluate.protocols:
            raise ValueError(
                f"evaluate.select_on is '{self.evaluate.select_on}', which evaluate.protocols lacks: add it there"
            )
        return self

    @model_validator(mode="after")
    def _every_phase_has_a_loss(self) -> ExperimentConfig:
        for epoch, loss in self.staged_loss.items():
            for phase, terms in (("CAP", self.model.cap_terms), *((("TAD", TAD_TERMS),) if self.distils else ())):
                if not any(getattr(loss.weights, term) for term in terms):
                    since = f" from epoch {epoch} on" if epoch else ""
                    raise ValueError(
                        f"all loss.weights of {phase} are 0{since}: give one of {', '.join(terms)} a weight"
                    )
        return self
