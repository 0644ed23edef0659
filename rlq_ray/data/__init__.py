"""Images and their labels: from a user's folder to shards, and from shards to batches."""

from rlq_ray.data.external_loader import ExternalLoader
from rlq_ray.data.forget import Forgotten, forget_identity
from rlq_ray.data.index import Index
from rlq_ray.data.ingestion import IngestPlan, finish_ingest, ingest, plan_ingest, start_ingest
from rlq_ray.data.iterate import iterate_rows
from rlq_ray.data.jobs import ShardJob, WrittenShard
from rlq_ray.data.joining import SideFiles
from rlq_ray.data.layouts import LAYOUTS
from rlq_ray.data.loader import BatchLoader
from rlq_ray.data.manifest import Manifest, read_manifest
from rlq_ray.data.reader import DataSet
from rlq_ray.data.shards import write_shard
from rlq_ray.data.splits import (
    EXTERNAL_PREFIX,
    TrainingSplit,
    class_space,
    evaluation_rows,
    joined_classes,
    split_training,
)
from rlq_ray.data.target_loader import TargetLoader
from rlq_ray.data.teacher_features import TeacherFeatures, missing_draws, write_draw

__all__ = [
    "EXTERNAL_PREFIX",
    "LAYOUTS",
    "BatchLoader",
    "DataSet",
    "ExternalLoader",
    "Forgotten",
    "Index",
    "IngestPlan",
    "Manifest",
    "ShardJob",
    "SideFiles",
    "TargetLoader",
    "TeacherFeatures",
    "TrainingSplit",
    "WrittenShard",
    "class_space",
    "evaluation_rows",
    "finish_ingest",
    "forget_identity",
    "ingest",
    "iterate_rows",
    "joined_classes",
    "missing_draws",
    "plan_ingest",
    "read_manifest",
    "split_training",
    "start_ingest",
    "write_draw",
    "write_shard",
]
