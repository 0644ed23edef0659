"""The training of one model: schedule, state, loop, checkpoints. Knows neither Ray nor MLflow."""
