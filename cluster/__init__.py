"""The processes that a run needs around it, started on this machine or connected to: Ray, S3, MLflow."""
