"""The local stack: a Ray head, an S3 server and an MLflow server on this machine, which outlive the command."""
