"""How an experiment's report looks: tables in Markdown or on a terminal, and a figure, made of its plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from rich.table import Table

from pipelines.experiment_report import Report
from rlq_ray.degrade import SEVERITIES
from rlq_ray.pictures import AblationRow, ablation_chart

ARTEFACTS = {"pixelation": "pixelation", "defocus": "out of focus", "motion": "motion"}


@dataclass(frozen=True)
class Grid:
    """A table: its title, header and rows, all as text; the first column is the row's name."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def grids(report: Report) -> list[Grid]:
    """Lay out scores, artefacts, the field's way to print, and diagnostics; what is missing leaves its table out."""
    made = [_scores(report), _artefacts(report), _printed(report), _diagnostics(report), _comparisons(report)]
    return [grid for grid in made if grid.rows]


def as_markdown(report: Report) -> str:
    """Write all tables as Markdown."""
    parts = [f"# {report['title']}", _caption(report)]
    for grid in grids(report):
        lines = [grid.header, ("---", *("---:" for _ in grid.header[1:])), *grid.rows]
        parts.append(f"**{grid.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def as_tables(report: Report) -> list[Table]:
    """Lay all tables out for a terminal."""
    tables = []
    for grid in grids(report):
        table = Table(title=grid.title, title_justify="left")
        for number, name in enumerate(grid.header):
            table.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in grid.rows:
            table.add_row(*row)
        tables.append(table)
    return tables


def experiment_figure(report: Report) -> Figure:
    """Draw every row's scores on HQ and LQ queries, and what it gains on the first row."""
    protocol, rows = report["protocol"], []
    for row in report["rows"]:
        scores = {quality: row["scores"][quality][protocol]["mAP"] for quality in ("hq", "lq")}
        gain = row["gain"].get("lq", {}).get("mAP")
        rows.append(
            AblationRow(
                label=row["label"],
                scores={quality: (s["mean"], s["low"], s["high"], s["values"]) for quality, s in scores.items()},
                gain=None if gain is None else (gain["delta"], gain["low"], gain["high"]),
            )
        )
    marks = {
        baseline["label"]: {quality: baseline["scores"][quality][protocol]["mAP"]["mean"] for quality in ("hq", "lq")}
        for baseline in report["baselines"]
    }
    return ablation_chart(
        rows, marks=marks, title=report["title"], subtitle=_caption(report), compared_with=report["compared_with"]
    )


def _caption(report: Report) -> str:
    test, seeds = report["test"], sorted({len(row["seeds"]) for row in report["rows"]})
    return (
        f"protocol {report['protocol']}, {test['identities']} test identities, {test['queries']} queries, "
        f"{' or '.join(map(str, seeds))} seed{'' if seeds == [1] else 's'}; checkpoints chosen on {report['chosen_on']}"
    )


def _scores(report: Report) -> Grid:
    protocol = report["protocol"]
    rows = []
    for row in [*report["rows"], *report["baselines"]]:
        cells = [
            _mean(row["scores"][quality][protocol][metric]) for quality in ("hq", "lq") for metric in ("top1", "mAP")
        ]
        gains = (_gain(row.get("gain", {}), quality) for quality in ("hq", "lq"))
        rows.append((row["label"], str(len(row["seeds"])) if "seeds" in row else "–", *cells, *gains))
    first = report["compared_with"]
    return Grid(
        "Test identities, in percent: mean ± standard deviation over the seeds; gains over the seeds that both have, "
        "with 95 % intervals over identities and seeds (n seeds show (n − 1)/n of the variance between seeds)",
        (
            "",
            "seeds",
            "HQ top-1",
            "HQ mAP",
            "LQ top-1",
            "LQ mAP",
            *(f"{q} mAP gained on {first}" for q in ("HQ", "LQ")),
        ),
        rows,
    )


def _artefacts(report: Report) -> Grid:
    names = [f"{artefact}-{severity}" for artefact in ARTEFACTS for severity in SEVERITIES]
    rows = []
    for row in [*report["rows"], *report["baselines"]]:
        if all(name in row["scores"] for name in names):
            own = [_mean(row["scores"][name][report["protocol"]]["mAP"]) for name in names]
            rows.append((row["label"], *own))
    header = [f"{ARTEFACTS[artefact]}, {severity}" for artefact in ARTEFACTS for severity in SEVERITIES]
    return Grid("mAP of LQ queries by artefact and severity, in percent", ("", *header), rows)


def _printed(report: Report) -> Grid:
    rows = []
    for row in report["rows"]:
        best = row["best_on_test"]
        if best:
            cells = []
            for quality in ("hq", "lq"):
                own = row["scores"][quality][report["protocol"]]
                for values in (own, best[quality]):
                    cells.append(f"{100 * values['top1']['mean']:.1f} / {100 * values['mAP']['mean']:.1f}")
            rows.append((row["label"], *cells))
    return Grid(
        "top-1 / mAP of the checkpoint chosen on validation, and as tables of this field are made: "
        "the best epoch on test, for each metric apart",
        ("", "HQ, chosen", "HQ, best on test", "LQ, chosen", "LQ, best on test"),
        rows,
    )


def _diagnostics(report: Report) -> Grid:
    protocol = report["protocol"]
    columns = {
        "silhouette_quality": "silhouette by quality",
        "silhouette_identity": "by identity",
        "lq_neighbour_share": "LQ among an LQ image's neighbours, %",
        f"lq/{protocol}/wrong_same_gender": "wrong matches of the same gender, LQ, %",
        "gradient_cosine": "gradient cosine",
    }
    rows = []
    for row in report["rows"]:
        own = row["diagnostics"]
        if own:
            cells = []
            for name in columns:
                scale = 100 if "share" in name or "gender" in name else 1
                cells.append(f"{scale * own[name]['mean']:.{1 if scale == 100 else 3}f}" if name in own else "–")
            rows.append((row["label"], *cells))
    return Grid("Diagnostics on the validation identities", ("", *columns.values()), rows)


def _comparisons(report: Report) -> Grid:
    labels = {row["name"]: row["label"] for row in report["rows"]}
    rows = []
    for comparison in report["comparisons"]:
        gain = comparison["gain"]
        if "lq" in gain:
            pair = f"{labels[comparison['after']]} − {labels[comparison['before']]}"
            by_seed = ", ".join(f"{100 * value:+.1f}" for value in gain["lq"]["mAP"]["gains"])
            rows.append((comparison["question"], pair, _gain(gain, "hq"), _gain(gain, "lq"), by_seed))
    return Grid(
        "Questions and answers, in mAP points with 95 % intervals, paired by identity and seed",
        ("", "difference", "HQ queries", "LQ queries", "LQ, by seed"),
        rows,
    )


def _mean(score: Report) -> str:
    spread = f" ± {100 * score['deviation']:.1f}" if score["deviation"] is not None else ""
    return f"{100 * score['mean']:.1f}{spread}"


def _gain(gain: Report, quality: str) -> str:
    if quality not in gain:
        return "–"
    own = gain[quality]["mAP"]
    return f"{100 * own['delta']:+.1f} ({100 * own['low']:+.1f} … {100 * own['high']:+.1f})"
