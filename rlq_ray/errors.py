"""Errors that a user caused and can mend: one line each, what was wrong with the value, then the mend.

The command line prints them as `error: …` and ends with `exit_status`; anything else is our fault and keeps its
traceback.
"""


class RlqError(Exception):
    """Base of all errors meant for the user's eyes."""

    exit_status = 1


class UsageError(RlqError):
    """A wrong option, configuration or argument: nothing was begun."""

    exit_status = 2


class DataError(RlqError):
    """A data set, image or side file that cannot be used as it is."""

    exit_status = 2


class StorageError(RlqError):
    """A place that cannot be read from or written to."""


class NotFoundError(StorageError):
    """A file, folder or bucket that does not exist."""


class CheckpointError(RlqError):
    """A checkpoint that is incomplete or belongs to another model."""

    exit_status = 2


class TrainingError(RlqError):
    """A training that cannot go on."""


class DivergedError(TrainingError):
    """A training whose losses or features are no longer finite."""


class TrackingError(RlqError):
    """A tracking store that cannot be reached, read or written."""


class ServiceError(RlqError):
    """A server or cluster that does not start, answer or end."""


class PackageError(RlqError):
    """A process that runs other code than was sent to it."""
