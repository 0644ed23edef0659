"""A Grafana dashboard of trainings and of the nodes that they run on: which charts there are, and of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.builders.common import StackingConfig, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models import dashboard as models

from rlq_ray.distributed import meters
from rlq_ray.distributed.meters import Figure

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH, HEIGHT = 12, 8
"""Of a chart, in units of Grafana's grid, which is 24 wide."""
SOME_TIME = "[15m]"
"""How far back a gauge is looked for, which nobody sets while an evaluation runs."""


@dataclass(frozen=True)
class Chart:
    """A chart over time.

    Attributes:
        title: above it.
        description: what it tells, and what to do where it tells of trouble.
        query: in PromQL.
        legend: of a line, with `{{label}}` for the value of a label.
        unit: by Grafana's name.
        top: of the axis, where that is known.
        stacks: whether the lines are parts of a whole.
    """

    title: str
    description: str
    query: str
    legend: str
    unit: str = units.Number
    top: float | None = None
    stacks: bool = False


def _rate(figure: Figure, by: str) -> str:
    return f"sum by ({by}) (rate({_chosen(figure)}[$__rate_interval]))"


def _latest(figure: Figure, by: str) -> str:
    return f"max by ({by}) (last_over_time({_chosen(figure)}{SOME_TIME}))"


def _chosen(figure: Figure) -> str:
    return f'ray_{figure.name}{{run=~"$run"}}'


CHARTS: Mapping[str, Sequence[Chart]] = {
    "Trainings": (
        Chart(
            "Progress",
            "Share of the optimiser steps that are done.",
            _latest(meters.PROGRESS, "run"),
            "{{run}}",
            units.PercentUnit,
            top=1,
        ),
        Chart(
            "Score",
            "Latest score on the validation identities, by which the best checkpoint is chosen.",
            _latest(meters.SCORE, "run, metric"),
            "{{run}} {{metric}}",
        ),
        Chart(
            "Images per second",
            "Images trained on, by all workers together; evaluations lie between.",
            _rate(meters.IMAGES, "run"),
            "{{run}}",
        ),
        Chart(
            "Workers",
            "Workers that train. Fewer than asked for: a node was taken back, and the training is elastic.",
            _latest(meters.WORKERS, "run"),
            "{{run}}",
        ),
    ),
    "Steps": (
        Chart(
            "Time of a step",
            "By phase, with all that it waited for. It rises where data stall, or where nodes share a GPU.",
            f"{_rate(meters.PHASE_SECONDS, 'run, phase')} / {_rate(meters.STEPS, 'run, phase')}",
            "{{run}} {{phase}}",
            units.Seconds,
        ),
        Chart(
            "Time by phase",
            "Shares of the time that go into CAP and TAD steps, evaluations and checkpoints.",
            f"{_rate(meters.PHASE_SECONDS, 'run, phase')} or label_replace({_rate(meters.EVALUATION_SECONDS, 'run')}, "
            f'"phase", "evaluation", "", "") or label_replace({_rate(meters.CHECKPOINT_SECONDS, "run")}, '
            '"phase", "checkpoint", "", "")',
            "{{run}} {{phase}}",
            units.PercentUnit,
            stacks=True,
        ),
        Chart(
            "Step ratio",
            "TAD steps to a CAP step, as the schedule has it now; stages of a recipe change it.",
            _latest(meters.STEP_RATIO, "run"),
            "{{run}}",
        ),
        Chart(
            "Time of a checkpoint",
            "Mean of the last quarter of an hour. It rises where the store is slow.",
            f"sum by (run) (increase({_chosen(meters.CHECKPOINT_SECONDS)}{SOME_TIME})) / "
            f"sum by (run) (increase({_chosen(meters.CHECKPOINTS)}{SOME_TIME}))",
            "{{run}}",
            units.Seconds,
        ),
    ),
    "Data": (
        Chart(
            "Waiting for data",
            "Share of its time that a worker waits for batches. Above some per cent: raise data.decode_threads or "
            "data.read_threads, or give workers more CPUs.",
            _rate(meters.STALL_SECONDS, "run, rank"),
            "{{run}} rank {{rank}}",
            units.PercentUnit,
        ),
        Chart(
            "Read from the store",
            "By node. Nothing, once memory or the node's disk cache holds the data.",
            _rate(meters.READ_BYTES, "NodeAddress"),
            "{{NodeAddress}}",
            units.BytesPerSecondSI,
        ),
        Chart(
            "Reads tried again",
            "Per second and node: the store fails or refuses, or the network does.",
            _rate(meters.RETRIES, "NodeAddress"),
            "{{NodeAddress}}",
        ),
        Chart(
            "Reads asked for twice",
            "Per second and node: the store was slow to answer the first.",
            _rate(meters.HEDGES, "NodeAddress"),
            "{{NodeAddress}}",
        ),
    ),
    "Nodes": (
        Chart(
            "CPUs in use",
            "Of each node. At 100 % with workers that wait for data, decoding is what is slow.",
            "max by (NodeAddress) (ray_node_cpu_utilization) / 100",
            "{{NodeAddress}}",
            units.PercentUnit,
            top=1,
        ),
        Chart(
            "GPUs in use",
            "Of each GPU. Well below 100 %: data or the network are what is slow.",
            "max by (NodeAddress, GpuIndex) (ray_node_gpus_utilization) / 100",
            "{{NodeAddress}} GPU {{GpuIndex}}",
            units.PercentUnit,
            top=1,
        ),
        Chart(
            "Memory in use",
            "Of each node. Near 100 % Ray ends workers: lower data.cache_mb.",
            "max by (NodeAddress) (ray_node_mem_used / ray_node_mem_total)",
            "{{NodeAddress}}",
            units.PercentUnit,
            top=1,
        ),
        Chart(
            "Network",
            "Received by each node.",
            "max by (NodeAddress) (ray_node_network_receive_speed)",
            "{{NodeAddress}}",
            units.BytesPerSecondSI,
        ),
    ),
}
"""The charts, by the rows that they stand in."""


def dashboard_json() -> str:
    """Return the dashboard as Grafana imports it; there one chooses the Prometheus and the runs."""
    board = (
        dashboard.Dashboard("RLQ trainings")
        .uid("rlq-trainings")
        .tags(["rlq", "ray"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_runs())
    )
    for title, charts in CHARTS.items():
        board.with_row(dashboard.Row(title))
        for chart in charts:
            board.with_panel(_panel(chart))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _runs() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("run")
        .label("Runs")
        .datasource(DATASOURCE)
        .query(f"label_values(ray_{meters.STEPS.name}, run)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(text="All", value="$__all"))
    )


def _panel(chart: Chart) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(chart.title)
        .description(chart.description)
        .datasource(DATASOURCE)
        .span(WIDTH)
        .height(HEIGHT)
        .unit(chart.unit)
        .min(0)
        .fill_opacity(30 if chart.stacks else 5)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .with_target(prometheus.Dataquery().expr(chart.query).legend_format(chart.legend).range().ref_id("A"))
    )
    if chart.top is not None:
        panel.max(chart.top)
    if chart.stacks:
        panel.stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    return panel
