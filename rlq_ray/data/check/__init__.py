"""The preflight of a data set: what is wrong with it, before anything is trained on it. Knows no tasks, no tables."""

from rlq_ray.data.check.catalogue import Catalogue, catalogue_of_images, catalogue_of_index, source_images
from rlq_ray.data.check.duplicates import searches
from rlq_ray.data.check.examine import AUTOMATIC, NONE, Subject, examine
from rlq_ray.data.check.hashing import Copies, closest_copies, search
from rlq_ray.data.check.inspection import FilesJob, Inspected, ShardJob, files_jobs, inspect, join
from rlq_ray.data.check.published import PUBLISHED
from rlq_ray.data.check.report import Bin, Finding, Note, Report, SideFileReport, Spread
from rlq_ray.data.check.side_files import Joined, join_side_files, with_rates_at_ingest

__all__ = [
    "AUTOMATIC",
    "NONE",
    "PUBLISHED",
    "Bin",
    "Catalogue",
    "Copies",
    "FilesJob",
    "Finding",
    "Inspected",
    "Joined",
    "Note",
    "Report",
    "ShardJob",
    "SideFileReport",
    "Spread",
    "Subject",
    "catalogue_of_images",
    "catalogue_of_index",
    "closest_copies",
    "examine",
    "files_jobs",
    "inspect",
    "join",
    "join_side_files",
    "search",
    "searches",
    "source_images",
    "with_rates_at_ingest",
]
