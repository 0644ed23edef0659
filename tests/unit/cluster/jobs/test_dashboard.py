import pytest

from cluster.jobs.dashboard import Dashboard, connect, find_dashboard
from cluster.stack.card import StackCard
from rlq_ray.errors import ServiceError, UsageError


@pytest.fixture
def card(tmp_path):
    (tmp_path / "ray_token").write_text("of the stack\n")
    addresses = ("127.0.0.1:6379", "http://127.0.0.1:8265", "http://s3", "here", "s3://rlq", "http://mlflow")
    return StackCard(tmp_path, *addresses, "http://metrics")


@pytest.fixture
def token_file(tmp_path):
    (tmp_path / "token").write_text("of the team\n")
    return str(tmp_path / "token")


def test_the_option_comes_first_then_the_environment_then_the_stack(card, token_file):
    environment = {"RAY_ADDRESS": "http://team:8265/", "RAY_AUTH_TOKEN_PATH": token_file}
    assert find_dashboard("https://other", card, environment) == Dashboard("https://other", "of the team")
    assert find_dashboard(None, card, environment) == Dashboard("http://team:8265", "of the team")
    assert find_dashboard(None, card, {"RAY_ADDRESS": ""}) == Dashboard("http://127.0.0.1:8265", "of the stack")


def test_the_stack_is_known_by_its_own_address_with_its_own_token(card, token_file):
    environment = {"RAY_ADDRESS": "127.0.0.1:6379", "RAY_AUTH_TOKEN_PATH": token_file}
    assert find_dashboard(None, card, environment).token == "of the stack"


def test_the_token_of_the_stack_is_not_shown_to_others(card, monkeypatch):
    monkeypatch.setenv("HOME", "/nowhere")
    environment = {"RAY_ADDRESS": card.ray_address, "RAY_AUTH_TOKEN_PATH": str(card.token_path)}
    assert find_dashboard("http://other:8265", card, environment).token is None


def test_a_token_in_the_environment_comes_before_its_file(token_file):
    environment = {"RAY_AUTH_TOKEN": "plain", "RAY_AUTH_TOKEN_PATH": token_file}
    assert find_dashboard("http://a", None, environment).token == "plain"


def test_refuses_what_is_no_dashboard():
    with pytest.raises(UsageError, match="no cluster is named: start one by `rlq up`"):
        find_dashboard(None, None, {})
    with pytest.raises(UsageError, match=r"'10.0.0.1:6379' is no address of a dashboard.*http://HOST:8265"):
        find_dashboard(None, None, {"RAY_ADDRESS": "10.0.0.1:6379"})
    with pytest.raises(UsageError, match="cannot read Ray's token in /nowhere"):
        find_dashboard("http://a", None, {"RAY_AUTH_TOKEN_PATH": "/nowhere"})


def test_a_dashboard_that_is_not_there_is_told_at_once():
    with pytest.raises(ServiceError, match=r"no Ray dashboard answers at http://127.0.0.1:1 .*: check the address"):
        connect(Dashboard("http://127.0.0.1:1", None))
