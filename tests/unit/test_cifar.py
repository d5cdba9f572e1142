"""perigee.data.cifar and .downloading on small files of the real format, from a server here."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from perigee.data import downloading
from perigee.data.arrays import ArrayDataset
from perigee.data.cifar import build_cifar10, build_cifar100
from perigee.data.downloading import DownloadError, fetch, mirrored
from perigee.errors import PerigeeError

IMAGES_IN_A_FILE = 4


@dataclass(frozen=True)
class Kind:
    """How the two data sets differ."""

    name: str
    build: Callable[[Path, bool], ArrayDataset]
    source: type[datasets.CIFAR10]
    classes: int
    labels: str
    train_files: tuple[str, ...]
    test_file: str


CIFAR10 = Kind(
    "cifar10",
    build_cifar10,
    datasets.CIFAR10,
    10,
    "labels",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test_batch",
)
CIFAR100 = Kind(
    "cifar100", build_cifar100, datasets.CIFAR100, 100, "fine_labels", ("train",), "test"
)


@dataclass(frozen=True)
class Files:
    """Files of the real format, as an archive and unpacked, and what stands in them."""

    kind: Kind
    folder: Path
    batches: dict[str, dict]

    @property
    def archive(self) -> Path:
        return self.folder / self.kind.source.filename

    @property
    def unpacked(self) -> Path:
        return self.folder / self.kind.source.base_folder

    def put_archive(self, data: Path) -> Path:
        return Path(shutil.copy(self.archive, data))

    def put_unpacked(self, data: Path) -> Path:
        return Path(shutil.copytree(self.unpacked, data / self.unpacked.name))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_pickle(path: Path, content: object) -> str:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return md5(path)


def write_files(kind: Kind, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Write files like the originals: 1024 red, then green, then blue bytes per image."""
    generator = np.random.default_rng(0)
    files = Files(kind, folder, {})
    files.unpacked.mkdir(parents=True)
    checksums = []
    for name in (*kind.train_files, kind.test_file):
        files.batches[name] = batch = {
            "batch_label": f"of {name}",
            "data": generator.integers(0, 256, (IMAGES_IN_A_FILE, 3072), dtype=np.uint8),
            kind.labels: generator.integers(0, kind.classes, IMAGES_IN_A_FILE).tolist(),
            "filenames": [f"{name}_{number}.png" for number in range(IMAGES_IN_A_FILE)],
        }
        if kind is CIFAR100:
            batch["coarse_labels"] = generator.integers(0, 20, IMAGES_IN_A_FILE).tolist()
        checksums.append((name, write_pickle(files.unpacked / name, batch)))
    names = {kind.source.meta["key"]: [f"class {number}" for number in range(kind.classes)]}
    meta = kind.source.meta
    meta_checksum = write_pickle(files.unpacked / meta["filename"], names)
    with tarfile.open(files.archive, "w:gz") as archive:
        archive.add(files.unpacked, files.unpacked.name)
    monkeypatch.setattr(kind.source, "train_list", checksums[:-1])
    monkeypatch.setattr(kind.source, "test_list", checksums[-1:])
    monkeypatch.setattr(kind.source, "meta", meta | {"md5": meta_checksum})
    monkeypatch.setattr(kind.source, "tgz_md5", md5(files.archive))
    return files


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=lambda kind: kind.name)
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    return write_files(request.param, tmp_path / "original", monkeypatch)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of downloads, empty."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def refusal(kind: Kind, data: Path, download: bool = False) -> str:
    """The sentence with which building ends."""
    with pytest.raises(PerigeeError) as refused:
        kind.build(data, download)
    sentence = str(refused.value)
    assert sentence.startswith(f"Data set '{kind.name}': ")
    assert "\n" not in sentence
    return sentence


def listed(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# What is built


@pytest.mark.parametrize("layout", ["archive only", "folder only"])
def test_images_and_labels_are_those_of_the_files(files: Files, data: Path, layout: str) -> None:
    kind = files.kind
    put = files.put_archive if layout == "archive only" else files.put_unpacked
    put(data)
    before = listed(data)
    built = kind.build(data, False)
    assert listed(data) == before
    parts = len(kind.train_files)
    assert built.splits["train"].images.shape == (parts * IMAGES_IN_A_FILE, 3, 32, 32)
    assert built.splits["test"].images.shape == (IMAGES_IN_A_FILE, 3, 32, 32)
    assert built.classes == kind.classes
    for name, images, labels in (
        *zip(
            kind.train_files,
            np.split(built.splits["train"].images, parts),
            np.split(built.splits["train"].labels, parts),
            strict=True,
        ),
        (kind.test_file, built.splits["test"].images, built.splits["test"].labels),
    ):
        for image, stored in zip(images, files.batches[name]["data"], strict=True):
            for channel in range(3):
                plane = stored[1024 * channel : 1024 * (channel + 1)]
                rows = [plane[32 * row : 32 * (row + 1)] for row in range(32)]
                assert np.array_equal(image[channel], np.stack(rows))
        assert labels.tolist() == files.batches[name][kind.labels]
        assert images.dtype == labels.dtype == np.uint8


def test_channels_are_normalised_as_in_the_papers(files: Files, data: Path) -> None:
    files.put_unpacked(data)
    built = files.kind.build(data, False)
    assert built.image_shape == (3, 32, 32)
    # figures.md: (0.4914, 0.4822, 0.4465) and (0.2023, 0.1994, 0.2010) of pixels in [0, 1].
    assert built.channel_means == pytest.approx((125.307, 122.961, 113.8575), rel=1e-12)
    assert built.channel_stds == pytest.approx((51.5865, 50.847, 51.255), rel=1e-12)


def test_an_incomplete_folder_gives_way_to_the_archive(files: Files, data: Path) -> None:
    (files.put_unpacked(data) / files.kind.test_file).unlink()
    files.put_archive(data)
    built = files.kind.build(data, False)
    assert (
        built.splits["test"].labels.tolist()
        == files.batches[files.kind.test_file][files.kind.labels]
    )


# Wrong files


def test_a_truncated_archive(files: Files, data: Path) -> None:
    archive = files.put_archive(data)
    archive.write_bytes(archive.read_bytes()[:-1000])
    before = listed(data)
    sentence = refusal(files.kind, data, download=True)
    for part in (str(archive), "wrong checksum", "truncated", "delete it and run again"):
        assert part in sentence
    assert listed(data) == before


def test_a_damaged_file_of_the_folder(files: Files, data: Path) -> None:
    damaged = files.put_unpacked(data) / files.kind.train_files[-1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    files.put_archive(data)
    before = listed(data)
    sentence = refusal(files.kind, data, download=True)
    assert f"{damaged} has a wrong checksum" in sentence
    assert listed(data) == before


def test_damaged_class_names(files: Files, data: Path) -> None:
    meta = files.put_unpacked(data) / files.kind.source.meta["filename"]
    meta.write_bytes(b"")
    assert f"{meta} has a wrong checksum" in refusal(files.kind, data)


class Trap:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("layout", ["archive only", "folder only"])
def test_nothing_is_unpickled_unverified(
    files: Files, data: Path, tmp_path: Path, layout: str
) -> None:
    sprung = tmp_path / "sprung"
    unpacked = files.put_unpacked(data)
    for path in unpacked.iterdir():
        write_pickle(path, Trap(sprung))
    if layout == "archive only":
        with tarfile.open(data / files.archive.name, "w:gz") as archive:
            archive.add(unpacked, unpacked.name)
        shutil.rmtree(unpacked)
    assert "wrong checksum" in refusal(files.kind, data)
    assert not sprung.exists()


# Nothing there


def test_offline_and_nothing_there(files: Files, data: Path) -> None:
    sentence = refusal(files.kind, data, download=False)
    for part in (
        f"folder {data} (key 'data' of config/config.yaml) holds neither {files.archive.name}",
        "key 'download' is false",
        f"put {files.archive.name} there or set 'download: true'",
    ):
        assert part in sentence
    assert not listed(data)


def test_no_network_and_nothing_there(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "PAUSES", (0, 0))
    monkeypatch.setattr(files.kind.source, "url", "http://127.0.0.1:9/archive.tar.gz")
    sentence = refusal(files.kind, tmp_path / "not yet there", download=True)
    for part in (
        f"folder {tmp_path / 'not yet there'} (key 'data' of config/config.yaml) holds neither",
        "downloading http://127.0.0.1:9/archive.tar.gz failed (",
        "Connection refused); connect to the network",
        f"or put {files.archive.name} there",
    ):
        assert part in sentence


def test_a_folder_that_takes_no_files(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = refusal(files.kind, tmp_path / "file/data", download=True)
    assert "(key 'data' of config/config.yaml) cannot be written" in sentence


# Downloading


@dataclass
class Plan:
    """The server's behaviour and faults, one entry per request, in order.

    Attributes:
        drops: how many bytes are sent before the connection is closed; None: all.
        statuses: status of a reply without content; None: a proper reply.
        ranges: the Range header of each request that came.
    """

    content: bytes
    drops: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    knows_ranges: bool = True
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    plan: Plan

    def do_GET(self) -> None:
        plan = self.plan
        asked = self.headers["Range"]
        plan.ranges.append(asked)
        status = plan.statuses.pop(0) if plan.statuses else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and plan.knows_ranges else 0
        if start and start >= len(plan.content):
            status = 416
        if status:
            self.send_error(status)
            return
        rest = plan.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        # What is packed may be labelled as encoded, and is to be kept as it comes all the same.
        self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(rest[: plan.drops.pop(0) if plan.drops else None])

    def log_message(self, *arguments: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], Plan]]:
    """Starts a server of one file on a free port."""
    servers = []

    def start(content: bytes) -> Plan:
        plan = Plan(content)
        server = HTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"plan": plan}))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        plan.url = f"http://127.0.0.1:{server.server_port}/archive.tar.gz"
        return plan

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(downloading.time, "sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def three_megabytes() -> bytes:
    return np.random.default_rng(1).bytes(3_000_000)


def test_an_archive_is_downloaded_verified_and_read(
    files: Files,
    data: Path,
    serve: Callable[[bytes], Plan],
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = serve(files.archive.read_bytes())
    half = len(plan.content) // 2
    plan.drops = [half]
    monkeypatch.setattr(files.kind.source, "url", plan.url)
    built = files.kind.build(data, True)
    assert plan.ranges == [None, f"bytes={half}-"]
    assert pauses == [1]
    assert listed(data) == {files.archive.name: plan.content}
    assert (
        built.splits["test"].labels.tolist()
        == files.batches[files.kind.test_file][files.kind.labels]
    )
    # From now on it is there.
    files.kind.build(data, False)
    assert len(plan.ranges) == 2


def test_an_archive_may_come_from_a_mirror(
    files: Files,
    data: Path,
    serve: Callable[[bytes], Plan],
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under its own name, and its checksum is verified all the same."""
    plan = serve(files.archive.read_bytes())
    monkeypatch.setattr(files.kind.source, "url", f"http://127.0.0.1:9/{files.archive.name}")
    asked: list[str] = []
    get = downloading.requests.get

    def note(url: str, **options: object) -> object:
        asked.append(url)
        return get(url, **options)

    monkeypatch.setattr(downloading.requests, "get", note)
    mirror = plan.url.rpartition("/")[0]
    with mirrored(f"{mirror}/"):
        built = files.kind.build(data, True)
    assert built.splits["test"].labels.size
    assert asked == [f"{mirror}/{files.archive.name}"]
    (data / files.archive.name).unlink()
    plan.content = b"not the archive"
    with mirrored(mirror):
        assert "has a wrong checksum" in refusal(files.kind, data, download=True)
    (data / files.archive.name).unlink()
    with mirrored("http://127.0.0.1:9/cifar"):
        told = refusal(files.kind, data, download=True)
    assert "mirror http://127.0.0.1:9/cifar: " in told
    monkeypatch.setattr(downloading, "PAUSES", ())
    assert "mirror" not in refusal(files.kind, data, download=True), "only while it is named"


def test_a_download_with_a_wrong_checksum(
    files: Files, data: Path, serve: Callable[[bytes], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = serve(b"<html>Log in to the network first.</html>")
    monkeypatch.setattr(files.kind.source, "url", plan.url)
    sentence = refusal(files.kind, data, download=True)
    assert f"{data / files.archive.name} has a wrong checksum" in sentence
    # A second try neither unpacks it nor fetches over it.
    assert refusal(files.kind, data, download=True) == sentence
    assert listed(data) == {files.archive.name: plan.content}
    assert len(plan.ranges) == 1


def test_a_download_that_never_ends_well_is_kept_for_later(
    files: Files,
    data: Path,
    serve: Callable[[bytes], Plan],
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = serve(files.archive.read_bytes())
    plan.drops = [1000] * 4
    monkeypatch.setattr(files.kind.source, "url", plan.url)
    assert "goes on where it stopped" in refusal(files.kind, data, download=True)
    assert pauses == [1, 4, 16]
    assert listed(data) == {f"{files.archive.name}.part": plan.content[:4000]}
    files.kind.build(data, True)
    assert plan.ranges[-1] == "bytes=4000-"


def test_server_errors_are_retried_with_growing_pauses(
    tmp_path: Path,
    serve: Callable[[bytes], Plan],
    pauses: list[float],
    three_megabytes: bytes,
) -> None:
    plan = serve(three_megabytes)
    plan.statuses = [503, 429]
    fetch(plan.url, tmp_path / "archive")
    assert (tmp_path / "archive").read_bytes() == three_megabytes
    assert pauses == [1, 4]


def test_a_refusal_is_not_retried(
    tmp_path: Path, serve: Callable[[bytes], Plan], pauses: list[float]
) -> None:
    plan = serve(b"content")
    plan.statuses = [404]
    with pytest.raises(DownloadError, match="404"):
        fetch(plan.url, tmp_path / "archive")
    assert len(plan.ranges) == 1
    assert not pauses
    assert not listed(tmp_path)


def test_a_server_that_cannot_resume_sends_all_again(
    tmp_path: Path,
    serve: Callable[[bytes], Plan],
    pauses: list[float],
    three_megabytes: bytes,
) -> None:
    plan = serve(three_megabytes)
    plan.knows_ranges = False
    plan.drops = [1_500_000]
    fetch(plan.url, tmp_path / "archive")
    assert plan.ranges == [None, "bytes=1500000-"]
    assert listed(tmp_path) == {"archive": three_megabytes}


def test_a_part_that_lacks_nothing_is_taken(
    tmp_path: Path, serve: Callable[[bytes], Plan], three_megabytes: bytes
) -> None:
    (tmp_path / "archive.part").write_bytes(three_megabytes)
    fetch(serve(three_megabytes).url, tmp_path / "archive")
    assert listed(tmp_path) == {"archive": three_megabytes}


def test_progress_is_told(
    tmp_path: Path,
    serve: Callable[[bytes], Plan],
    pauses: list[float],
    three_megabytes: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(downloading, "PROGRESS_INTERVAL", 0)
    monkeypatch.setattr(downloading, "CHUNK", 1_000_000)
    caplog.set_level("INFO", logger="perigee")
    plan = serve(three_megabytes)
    plan.drops = [2_000_000]
    fetch(plan.url, tmp_path / "archive")
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        f"downloading {plan.url}",
        "1 of 3 MB",
        "2 of 3 MB",
        "IncompleteRead(2000000 bytes read, 1000000 more expected); trying again in 1 s",
        f"resuming {plan.url}",
        "3 of 3 MB",
    ]
    assert all(message.startswith("archive: ") for message in caplog.messages)
