"""The measurements as Markdown and JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from loading.arena import Measurement
from loading.contenders import CONTENDERS, LARGE, LIMIT, PRODUCT, Contender, Side

BATCH_IMAGES = 64
Results = Mapping[str, Sequence[Measurement]]
"""By contender's name, one measurement per round; fewer where rounds failed."""


def heading(settings: Mapping[str, Any]) -> str:
    """Say what the table compares."""
    versions = ", ".join(f"{name} {version}" for name, version in settings["versions"].items())
    return (
        f"{settings['images']:,} JPEGs of 192×384 in a local S3 server (but for `DataLoader`), batches of 64 as uint8 "
        f"(B, 3, 384, 192), shuffled, {settings['workers']} threads or workers, {settings['cores']} cores. Medians of "
        f"{settings['rounds']} interleaved rounds; each pass in new processes and with an empty cache folder, after "
        "512 MiB were touched and freed, so that nobody pays for memory that the host of a virtual machine took back.\n"
        "Images/s and CPU time count from the first batch on, those of the whole pass from building the loader on. "
        "Memory is the peak above that of the processes before.\n"
        f"{versions}."
    )


def table(results: Results) -> str:
    """Lay out everybody's medians."""
    lines = [
        "| contender | images/s | least–most | CPU µs/image | first batch s | memory MB | images "
        "| whole pass: images/s | CPU µs/image |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rounds in results.items():
        if not rounds:
            lines.append(f"| {name} | failed | | | | | | | |")
            continue
        speeds = [one.images_per_s for one in rounds]
        lines.append(
            f"| {name} | {median(rounds, 'images_per_s'):,.0f} | {min(speeds):,.0f}–{max(speeds):,.0f} "
            f"| {median(rounds, 'cpu_us'):,.0f} | {median(rounds, 'first_batch_s'):.2f} "
            f"| {median(rounds, 'memory_mb'):,.0f} | {rounds[0].images:,} "
            f"| {median(rounds, 'whole_images_per_s'):,.0f} | {median(rounds, 'whole_cpu_us'):,.0f} |"
        )
    return "\n".join(lines)


def ratios(results: Results) -> str:
    """Set the product beside the limit and the best peers, and the targets beside that."""
    product = results.get(PRODUCT.name)
    if not product:
        return "No comparison without a pass of the product."
    lines = [f"{PRODUCT.name}:"]
    if limit := results.get(LIMIT.name):
        cpu, speed = ratio(product, limit, "cpu_us"), ratio(product, limit, "images_per_s")
        lines += [
            f"- CPU per image {cpu:.2f} × decoding alone (target ≤ 1.15, aim 1.05)",
            f"- images/s {speed:.2f} × decoding alone",
        ]
        if large := results.get(LARGE.name):
            lines.append(
                f"- with 10 × the images: CPU per image {ratio(large, limit, 'cpu_us'):.2f} × decoding alone, images/s "
                f"{ratio(large, limit, 'images_per_s'):.2f} ×"
            )
    for side, target in (("documented", 2.0), ("our decoder", 1.6)):
        if best := best_of(results, side):
            peer = results[best]
            lines.append(
                f"- images/s {ratio(product, peer, 'images_per_s'):.2f} × the best peer "
                f"{'as documented' if side == 'documented' else 'with our decoder'}, {best} (target ≥ {target:.1f}); "
                f"in whole passes {ratio(product, peer, 'whole_images_per_s'):.2f} ×"
            )
    lines += [
        f"- first batch after {median(product, 'first_batch_s'):.2f} s (target < 1)",
        f"- memory {median(product, 'memory_mb'):,.0f} MB above the process (target < 400)",
    ]
    return "\n".join(lines)


def best_of(results: Results, side: Side) -> str | None:
    """Name the fastest contender of a side, if any took part."""
    names = [one.name for one in CONTENDERS if one.side == side and results.get(one.name)]
    return max(names, key=lambda name: median(results[name], "images_per_s"), default=None)


def as_json(results: Results, settings: Mapping[str, object]) -> dict[str, object]:
    """Give settings, every round and the ratios' basis, for a file."""
    return {
        "settings": dict(settings),
        "rounds": {name: [asdict(one) for one in rounds] for name, rounds in results.items()},
        "best_peer": {side: best_of(results, side) for side in ("documented", "our decoder")},
    }


def median(rounds: Sequence[Measurement], field: str) -> float:
    """Take the median of one figure over the rounds."""
    return statistics.median(getattr(one, field) for one in rounds)


def ratio(ours: Sequence[Measurement], others: Sequence[Measurement], field: str) -> float:
    """Take the median of the ratios of those rounds that both finished, for both met the same neighbours in them."""
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in zip(ours, others, strict=False))


def check_line(contender: Contender, photos: int, wrong: int, times: Counter[str]) -> tuple[bool, str]:
    """Judge a pass: all pixels right and every photo once.

    A pass of the product is whole batches, which leave some out; and where it balances identities, the plan may give a
    photo again in place of another, so that there only the number is judged and the different ones are told.
    """
    total, most = times.total(), max(times.values(), default=0)
    planned = photos
    if contender.module == "product":
        planned = photos // (BATCH_IMAGES * contender.readers) * BATCH_IMAGES * contender.readers
    is_balanced = contender.module == "product" and contender.variant != "unlabelled"
    is_right = wrong == 0 and total == planned and (most == 1 or is_balanced)
    verdict = "right" if is_right else "WRONG"
    return is_right, (
        f"{verdict}: {contender.name}: {total:,} of {planned:,} planned images, {len(times):,} different, "
        f"the same at most {most} ×, {wrong:,} with other pixels than PIL's"
    )
