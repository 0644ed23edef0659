import pytest

from cluster.jobs.confidential import refuse_secrets
from rlq_ray.errors import UsageError

ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "RAY_AUTH_TOKEN_PATH": "/home/ada/token",
    "MLFLOW_TRACKING_PASSWORD": "short",
    "HOME": "/home/ada",
}


@pytest.mark.parametrize(
    "word",
    [
        "data.target=s3://key:secretsecret@host/bucket",
        "http://user:pw@mlflow",
        "AWS_SECRET_ACCESS_KEY=abc",
        "mlflow.password=abc",
        "--token=abc",
        "key=AKIAIOSFODNN7EXAMPLE",
        "note=wJalrXUtnFEMI/K7MDENG",
    ],
)
def test_refuses_an_obvious_secret_without_repeating_it(word):
    with pytest.raises(UsageError, match=r"word 2 of the command .*: leave it out") as error:
        refuse_secrets(["train", word], ENVIRONMENT)
    assert word.partition("=")[2] not in str(error.value) or "=" not in word
    assert "wJalrXUtnFEMI" not in str(error.value)


def test_refuses_the_value_of_a_telling_option():
    with pytest.raises(UsageError, match="word 3 of the command is the value of --api-key"):
        refuse_secrets(["train", "--api-key", "abc"], {})


@pytest.mark.parametrize(
    "command",
    [
        ["train", "rlq", "data.target=s3://bucket/a", "--name", "first", "--resume"],
        ["evaluate", "s3://bucket/short/checkpoint", "--data", "http://host:9000/x@y"],
        ["data", "ingest", "--poses", "/home/ada/token", "--out", "/home/ada"],
    ],
)
def test_lets_ordinary_commands_pass(command):
    refuse_secrets(command, ENVIRONMENT)
