import pytest

from rlq_ray.config.schema import OptimizerConfig, ScheduleConfig, Staged
from rlq_ray.train.schedule import Timeline, learning_rate


def plan(cap: int, tad: int, granularity: str, epochs: int = 2) -> Timeline:
    schedule = ScheduleConfig.model_validate({"cap_steps": cap, "tad_steps": tad, "granularity": granularity})
    return Timeline.plan(Staged((0,), (schedule,)), epochs=epochs, cap_steps_per_epoch=3, tad_steps_per_epoch=2)


@pytest.mark.parametrize(
    ("timeline", "story"),
    [
        (plan(1, 1, "epoch"), "ttcccttccc"),
        (plan(1, 0, "epoch"), "cccccc"),
        (plan(2, 1, "epoch"), "ttcccccc"),
        (plan(1, 1, "step"), "tctctctctctc"),
        (plan(2, 1, "step"), "tcctcctcc"),
        (plan(1, 2, "step"), "ttcttcttcttcttcttc"),
        (plan(4, 1, "step"), "tcccctcc"),
    ],
)
def test_alternates_and_ends_with_the_last_cap_step(timeline: Timeline, story: str) -> None:
    assert timeline.total_steps == len(story)
    assert "".join(timeline.phase(step)[0] for step in range(len(story))) == story


def test_the_external_phase_is_named_by_the_schedule() -> None:
    schedule = ScheduleConfig(external="joint", granularity="step")
    timeline = Timeline.plan(Staged((0,), (schedule,)), epochs=1, cap_steps_per_epoch=2, tad_steps_per_epoch=5)
    assert [timeline.phase(step) for step in range(timeline.total_steps)] == ["joint", "cap"] * 2


def test_counts_cap_steps_and_epochs_whatever_lies_between() -> None:
    timeline = plan(2, 1, "step")
    for step in range(timeline.total_steps):
        assert timeline.cap_steps_before(step) == sum(timeline.phase(s) == "cap" for s in range(step))
    assert [step for step in range(timeline.total_steps) if timeline.ends_epoch(step)] == [4, 8]
    assert timeline.epoch(4) == pytest.approx(2 / 3)
    assert [timeline.steps_until(epoch) for epoch in range(3)] == [0, 5, 9]


def test_published_milestones() -> None:
    config = OptimizerConfig()
    rates = [learning_rate(config, epoch=e, epochs=60) for e in (0, 19.99, 20, 39.9, 40, 59)]
    assert rates == pytest.approx([3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6])


def test_cosine_falls_and_warmup_rises() -> None:
    config = OptimizerConfig(curve="cosine", warmup_epochs=2, learning_rate=1.0)
    assert learning_rate(config, epoch=0, epochs=10) == pytest.approx(0.01)
    assert learning_rate(config, epoch=1, epochs=10) == pytest.approx(0.5 * (0.005 + 0.995 * 0.97552826), rel=1e-6)
    assert learning_rate(config, epoch=10, epochs=10) == pytest.approx(0.005)
