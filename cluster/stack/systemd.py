"""A stack as systemd user units, so that it comes up with the machine: printed, never installed. Starts nothing."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.stack.card import FOLDER_VARIABLE
from cluster.stack.keeper import ALREADY_RUNNING
from cluster.stack.servers import GRACES_S, Server

TARGET = "rlq-stack.target"
MARGIN_S = 15
"""Time beyond a server's own for its keeper to kill what is left."""


def units(folder: Path, servers: Sequence[Server], path_variable: str) -> dict[str, str]:
    """Return unit files by name: one for each server, and the target that starts them together.

    Args:
        folder: of the stack.
        servers: of the stack.
        path_variable: `PATH` for the servers.
    """
    names = {server.key: f"rlq-{server.key}.service" for server in servers}
    target = [
        *("[Unit]", f"Description=The rlq stack in {_plain(str(folder))}"),
        f"Wants={' '.join(names.values())}",
        *("", "[Install]", "WantedBy=default.target", ""),
    ]
    return {
        TARGET: "\n".join(target),
        **{names[server.key]: _service(folder, server, path_variable) for server in servers},
    }


def as_script(files: dict[str, str], folder: Path) -> str:
    """Return a shell script that installs unit files, starts them and waits for the stack; to be read first."""
    place = '"${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"'
    lines = ["#!/bin/sh", "# Installs the stack as systemd user units. `loginctl enable-linger` keeps them at log-out."]
    lines += ["set -e", f"mkdir -p {place}"]
    for name, text in files.items():
        lines += [f"cat > {place}/{name} <<'UNIT'", text.rstrip(), "UNIT"]
    lines += ["systemctl --user daemon-reload", f"systemctl --user enable --now {TARGET}"]
    lines += [f"{FOLDER_VARIABLE}={shlex.quote(str(folder))} {shlex.quote(sys.executable)} -m pipelines.cli up"]
    return "\n".join(lines) + "\n"


def _service(folder: Path, server: Server, path_variable: str) -> str:
    command = " ".join(_quoted(word).replace("$", "$$") for word in server.keeper_command(folder))
    lines = [
        *("[Unit]", f"Description=rlq: {server.title}", f"PartOf={TARGET}", ""),
        *("[Service]", "Type=exec", f"ExecStart={command}", f"Environment={_quoted(f'PATH={path_variable}')}"),
        *("Restart=on-failure", "RestartSec=5", f"RestartPreventExitStatus={ALREADY_RUNNING}"),
        *("KillMode=mixed", f"TimeoutStopSec={GRACES_S[server.key] + MARGIN_S:.0f}", "NoNewPrivileges=true", ""),
        *("[Install]", f"WantedBy={TARGET}", ""),
    ]
    return "\n".join(lines)


def _quoted(word: str) -> str:
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(text: str) -> str:
    return text.replace("%", "%%")
