"""Disks that refuse: a directory that is soon full, and processes of root that must not write what its mode forbids."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class SmallDisk:
    """named: the refusal must name a path that begins with this."""

    named: Path
    mounted: bool

    def grow(self) -> None:
        """Room for everything."""
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", str(self.named)], check=True)
        else:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[SmallDisk]:
    """`path`, a new directory, with room for `size` bytes: a tmpfs or, where none may be mounted, limited file sizes.

    The limit holds in this whole process and those that it starts: a neighbour of `path` may then be refused first.
    """
    path.mkdir(parents=True)
    disk = SmallDisk(path, _mounted(path, size))
    if not disk.mounted:
        disk.named = path.parent
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        yield disk
    finally:
        disk.grow()
        if disk.mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mounted(path: Path, size: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0


def without_root_rights() -> None:
    """As `preexec_fn`: the process that begins now may write only what the modes of files let its user write."""
    if os.geteuid() == 0:
        drop_from_bounding_set, cap_dac_override = 24, 1  # linux/prctl.h, linux/capability.h
        ctypes.CDLL(None).prctl(drop_from_bounding_set, cap_dac_override, 0, 0, 0)
