"""Disks that fail in the ways disks do, as SQLite file systems (VFS)."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw


@dataclass
class Image:
    """One file: what is surely on the disk, and what was written since the last sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut off here

    def apply(self, offset: int, data: bytes | None) -> None:
        if data is None:
            del self.durable[offset:]
            return
        if len(self.durable) < offset:
            self.durable.extend(bytes(offset - len(self.durable)))
        self.durable[offset : offset + len(data)] = data

    def sync(self) -> None:
        for offset, data in self.pending:
            self.apply(offset, data)
        self.pending.clear()


class Disk(apsw.VFS):
    """A disk whose power can be cut, and that can be full. Real files, beside which it remembers
    what a power cut would leave of them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = False
        self.images: dict[str, Image] = {}
        self.lock = threading.Lock()
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        with self.lock:
            self.images.pop(Path(filename).name, None)

    def image(self, name: str) -> Image:
        with self.lock:
            return self.images.setdefault(name, Image())

    def cut(self, folder: Path, chance: random.Random | None) -> None:
        """Leave in `folder` what is on the disk when the power goes now: everything synced, and of
        the rest nothing, or by `chance` some, in any order.
        """
        folder.mkdir()
        with self.lock:
            for name, image in self.images.items():
                left = Image(bytearray(image.durable))
                some = [write for write in image.pending if chance and chance.random() < 0.5]
                if chance:
                    chance.shuffle(some)
                for offset, data in some:
                    left.apply(offset, data)
                (folder / name).write_bytes(left.durable)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._disk, self._image = disk, disk.image(Path(path).name if path else "temporary")
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.full:
            raise apsw.FullError("no space left on this disk")
        super().xWrite(data, offset)
        with self._disk.lock:
            self._image.pending.append((offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(size)
        with self._disk.lock:
            self._image.pending.append((size, None))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        with self._disk.lock:
            self._image.sync()
