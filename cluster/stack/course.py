"""Bring a stack up and put it away: the three servers together, one caller at a time."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.object_store import forget_sockets
from cluster.processes import Service, last_line, start_service
from cluster.stack import running
from cluster.stack.card import CARD, StackCard, write_stack
from cluster.stack.keys import make_keys
from cluster.stack.servers import (
    GRACES_S,
    READY_TIMEOUT_S,
    TITLES,
    Server,
    servers_of,
    users_file,
    write_server_files,
)
from cluster.stack.settings import Settings, Wishes, check_settings, choose_settings, read_settings, write_settings
from rlq_ray.errors import ServiceError

PATIENCE_S = 30.0
"""How long a server that has been running may stay without an answer before it counts as stuck."""
POLL_S = 0.2
OWNER_ONLY = 0o700
Tell = Callable[[str], None]


def prepare_stack(folder: Path, wishes: Wishes, tell: Tell) -> list[Server]:
    """Lay down all that the servers of a stack need, so that somebody else can start them.

    Raises:
        ServiceError: a port is taken, or something is not installed.
    """
    with _alone(folder, tell):
        _, servers, _ = _prepare(folder, wishes, tell)
    return servers


def start_stack(folder: Path, wishes: Wishes, tell: Tell) -> StackCard:
    """Start what does not run of a stack, wait until everything answers, and write its card.

    Args:
        folder: of the stack; made if missing.
        wishes: what is to be as it says.
        tell: is called with a line about what is being done.

    Raises:
        ServiceError: a server does not start; those that did go on.
    """
    with _alone(folder, tell):
        settings, servers, dead = _prepare(folder, wishes, tell)
        for server in servers:
            if server.key not in dead:
                tell(f"{server.title} runs already")
        _start([server for server in servers if server.key in dead], folder, tell)
        card = settings.card(folder)
        write_stack(card)
    return card


def end_stack(folder: Path, tell: Tell) -> bool:
    """End all that runs of a stack, Ray first so that jobs can still write; keys and data stay.

    Returns:
        Whether anything ran.

    Raises:
        ServiceError: something would not end.
    """
    ran = any(running.members(folder, key) for key in TITLES)  # even if the folder was deleted
    if not ran and not folder.is_dir():
        return False
    with _alone(folder, tell):
        for keys in (["ray"], ["mlflow", "s3"]):
            _end(keys, folder, tell)
        (folder / CARD).unlink(missing_ok=True)
        if settings := read_settings(folder):
            _clear_ray(folder, settings)
            forget_sockets(settings.s3)
    return ran


def _prepare(folder: Path, wishes: Wishes, tell: Tell) -> tuple[Settings, list[Server], list[str]]:
    """End what is left of dead and stuck servers, and lay down what they need to be started anew.

    Returns:
        What they are started with, all servers, and the keys of those that do not run.
    """
    for part in (folder, folder / "run", folder / "logs"):
        part.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        part.chmod(OWNER_ONLY)
    settings = read_settings(folder)
    if make_keys(folder):
        _end(TITLES, folder, tell)  # what runs knows keys that are lost
        users_file(folder).unlink(missing_ok=True)
    living = [server.key for server in servers_of(folder, settings) if _lives(server, folder, tell)] if settings else []
    if settings is None or not living:
        notes: list[str] = []
        settings = choose_settings(folder, wishes, notes)
        for note in notes:
            tell(note)
    servers = servers_of(folder, settings)
    dead = [server.key for server in servers if server.key not in living]
    if living:
        check_settings(settings, wishes, dead)
    write_settings(folder, settings)
    if dead:
        write_server_files(folder)
    for server in servers:
        if server.key in dead:
            server.write_spec(folder)
    if "ray" in dead:
        _clear_ray(folder, settings)
    return settings, servers, dead


def _end(keys: Iterable[str], folder: Path, tell: Tell) -> None:
    def end(key: str) -> None:
        began_s = time.monotonic()
        runs = bool(running.members(folder, key))
        _end_server(key, folder)
        if runs:
            tell(f"{TITLES[key]} ended after {time.monotonic() - began_s:.0f} s")

    with ThreadPoolExecutor() as pool:
        list(pool.map(end, keys))


def _end_server(key: str, folder: Path, *, is_stuck: bool = False) -> None:
    if left := running.end(folder, key, 0 if is_stuck else GRACES_S[key]):
        ids = ", ".join(str(process.pid) for process in left)
        raise ServiceError(f"the {TITLES[key]} does not end (pid {ids}): look at these processes, and call again")


def _lives(server: Server, folder: Path, tell: Tell) -> bool:
    """Tell whether a server runs and answers, if need be after a while; end what is left of one that does not."""
    record = running.read_record(folder, server.key)
    if record and record.keeper.is_alive:
        patience_s = PATIENCE_S if running.was_ready(folder, server.key, record) else READY_TIMEOUT_S
        if _answers_within(server, record, patience_s):
            return True
        if record.keeper.is_alive:
            tell(f"{server.title} (pid {record.server.pid}) runs but does not answer: starting it anew")
    left = running.members(folder, server.key)
    if record and not record.keeper.is_alive:
        rest = f" and left {len(left)} processes, which are ended" if left else ""
        tell(f"{server.title} died{rest}: starting it anew; its log is {server.log_path(folder)}")
    _end_server(server.key, folder, is_stuck=True)
    return False


def _answers_within(server: Server, record: running.Record, timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while record.keeper.is_alive:
        if server.answers():
            return True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return False


def _start(servers: Sequence[Server], folder: Path, tell: Tell) -> None:
    """Start servers, and wait until they answer.

    Raises:
        ServiceError: one ended, or did not answer in time and was ended.
    """
    began_s = time.monotonic()
    waiting = {server.key: (server, _launch(server, folder)) for server in servers}
    again: set[str] = set()
    while waiting:
        for key, (server, service) in list(waiting.items()):
            waited_s = time.monotonic() - began_s
            if server.answers():
                if record := running.read_record(folder, key):
                    running.note_ready(folder, key, record)
                tell(f"{server.title} is up after {waited_s:.0f} s")
                del waiting[key]
            elif service.process.poll() is not None:
                last = last_line(service.log_path)
                if key in again or not server.too_slow or server.too_slow not in last:
                    raise ServiceError(f"the {server.title} ended at its start: {last}")
                tell(f"{server.title} gave up, since the machine is busy: starting it once more")
                again.add(key)
                waiting[key] = (server, _launch(server, folder))
            elif waited_s > READY_TIMEOUT_S:
                _end_server(key, folder, is_stuck=True)
                raise ServiceError(
                    f"the {server.title} did not answer within {waited_s:.0f} s: {last_line(service.log_path)}"
                )
        time.sleep(POLL_S)


def _launch(server: Server, folder: Path) -> Service:
    return start_service(server.title, server.keeper_command(folder), server.log_path(folder), is_guarded=False)


def _clear_ray(folder: Path, settings: Settings) -> None:
    """Keep the logs of Ray's last session, and delete the rest of its folder in the system's temporary one."""
    temp_dir, kept = Path(settings.ray_temp_dir), folder / "logs" / "ray"
    last = temp_dir / "session_latest" / "logs"
    if last.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(last, kept, symlinks=True, ignore_dangling_symlinks=True)
    shutil.rmtree(temp_dir, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path, tell: Tell) -> Iterator[None]:
    """Wait until nobody else changes a stack."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another `rlq up` or `rlq down` of this stack")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
