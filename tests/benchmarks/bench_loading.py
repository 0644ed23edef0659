"""Compare the product's loader with decoding alone and with other loaders, from a local S3 server; prints Markdown.

    python tests/benchmarks/bench_loading.py [--rounds 5] [--images 6000] [--only 'rlq*' --only lit_data] [--json FILE]
    python tests/benchmarks/bench_loading.py --check

Every pass has processes of its own and an empty cache, one contender at a time; the order rotates from round to round.
`make bench` installs the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loading.arena import Arena, Measurement
from loading.contenders import Contender, chosen, for_check
from loading.photos import make_photos, repeat_photos
from loading.reader import PassError
from loading.report import as_json, check_line, heading, ratios, table

from cluster.object_store import start_object_store

ROOT = Path(__file__).resolve().parents[2]
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"


def main() -> None:
    """Print the table, or what the check found."""
    options = parse_options()
    contenders = for_check(chosen(options.only)) if options.check else chosen(options.only)
    if any(one.python == "peers" for one in contenders) and not PEERS_PYTHON.exists():
        raise SystemExit(f"the peers are not installed ({PEERS_PYTHON} is missing): run `make bench-install`")
    settings = describe(options, contenders)
    with open_arena(options, contenders) as arena:
        failed = write_all(arena, contenders)
        able = [one for one in contenders if one.name not in failed]
        if options.check:
            is_right = [say_check(arena, one) for one in able]
            raise SystemExit(not all(is_right) or bool(failed))
        results = take_turns(arena, able, options.rounds)
    results = {one.name: results.get(one.name, []) for one in contenders}
    print(f"{heading(settings)}\n\n{table(results)}\n\n{ratios(results)}")
    if options.json:
        options.json.write_text(json.dumps(as_json(results, settings), indent=1, ensure_ascii=False) + "\n")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="passes of each")
    parser.add_argument("--images", type=int, default=6000, help="photos; 1,500 or more, so that shards can be shared")
    parser.add_argument("--workers", type=int, default=2, help="threads or processes of each that decode")
    parser.add_argument("--only", action="append", default=[], help="name or module of a contender, with *; repeatable")
    parser.add_argument("--check", action="store_true", help="count every image by its pixels instead of measuring")
    parser.add_argument("--json", type=Path, help="file for all rounds")
    parser.add_argument("--folder", type=Path, default=ROOT / "bench-results" / "loading", help="where photos are kept")
    return parser.parse_args()


def describe(options: argparse.Namespace, contenders: Sequence[Contender]) -> dict[str, object]:
    """Say what is measured, on what."""
    command = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    versions: dict[str, str] = {}
    for python in {PEERS_PYTHON if one.python == "peers" else Path(sys.executable) for one in contenders}:
        done = subprocess.run([python, "-c", command], capture_output=True, text=True, check=True)
        versions |= json.loads(done.stdout)
    named = ("mosaicml-streaming", "webdataset", "litdata", "ray", "torch", "pillow", "simplejpeg")
    return {
        "images": options.images,
        "rounds": options.rounds,
        "workers": options.workers,
        "cores": os.cpu_count(),
        "versions": {name: versions[name] for name in named if name in versions},
    }


@contextmanager
def open_arena(options: argparse.Namespace, contenders: Sequence[Contender]) -> Iterator[Arena]:
    """Make the photos if they are missing, and run an S3 server with an empty bucket."""
    photos = {1: options.folder / f"photos-{options.images}"}
    say(f"photos in {photos[1]}")
    make_photos(photos[1], options.images)
    for times in {one.times for one in contenders} - {1}:
        photos[times] = options.folder / f"photos-{options.images}-times-{times}"
        repeat_photos(photos[1], times, photos[times])
    with tempfile.TemporaryDirectory(prefix="rlq-bs-", ignore_cleanup_errors=True) as folder:
        store = start_object_store(Path(folder))
        try:
            yield Arena(
                pythons={"product": Path(sys.executable), "peers": PEERS_PYTHON},
                photos=photos,
                store_uri=store.uri,
                environment={
                    **store.environment,
                    "S3_ENDPOINT_URL": store.endpoint,  # where Streaming looks
                    "PYTHONPATH": str(Path(__file__).parent),
                    "OMP_NUM_THREADS": "1",
                    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
                    "RAY_USAGE_STATS_ENABLED": "0",
                },
                workers=options.workers,
            )
        finally:
            store.stop(grace_s=0)


def write_all(arena: Arena, contenders: Sequence[Contender]) -> set[str]:
    """Make every data set once; name those who failed."""
    failed: dict[tuple[str, str], bool] = {}
    for one in contenders:
        key = (one.module, one.data)
        if key not in failed:
            say(f"writing the data of {one.name}")
            try:
                arena.write(one)
                failed[key] = False
            except PassError as error:
                say(f"{one.name} failed to write:\n{error}")
                failed[key] = True
    return {one.name for one in contenders if failed[one.module, one.data]}


def take_turns(arena: Arena, contenders: Sequence[Contender], rounds: int) -> dict[str, list[Measurement]]:
    """Measure everybody once per round. Who fails once is out, so that the rounds of those who stay fit together."""
    results: dict[str, list[Measurement]] = {one.name: [] for one in contenders}
    able = list(contenders)
    for number in range(rounds):
        first = number % max(len(able), 1)
        for one in [*able[first:], *able[:first]]:
            try:
                measured = arena.measure(one, seed=number)
            except PassError as error:
                say(f"{one.name} failed in round {number + 1}:\n{error}")
                able.remove(one)
                continue
            results[one.name].append(measured)
            say(f"round {number + 1}: {one.name}: {measured.images_per_s:,.0f} images/s, {measured.cpu_us:,.0f} µs")
    return results


def say_check(arena: Arena, contender: Contender) -> bool:
    """Print what one pass of a contender delivered; tell whether it was right."""
    photos = len(list(arena.photos[1].glob("*/*.jpg")))
    try:
        wrong, times = arena.check(contender)
    except PassError as error:
        say(f"{contender.name} failed:\n{error}")
        return False
    is_right, line = check_line(contender, photos, wrong, times)
    print(line, flush=True)
    return is_right


def say(line: str) -> None:
    """Report progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
