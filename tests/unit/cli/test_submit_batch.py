"""A batch of files: each is written whole or reported as failed, and no input is ever replaced."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from labkit.cli import batch
from labkit.cli.batch import Batch, Outputs, Report, find_pictures, make_folder
from labkit.core.errors import ClusterNotRunning, ImageError, InvalidInput, TaskHung
from labkit.core.protocol.rules import Rules
from labkit.executors import SequentialExecutor
from labkit.imaging import image_files
from labkit.imaging.filters import Step, parse_steps
from labkit.imaging.photos import Skipped
from labkit.jobs import process_encoded

STEPS = parse_steps(["blur", "edges"])


def picture(path: Path, shade: int = 200) -> Path:
    """Write a small picture whose pixels differ from place to place."""
    image = np.full((12, 16, 3), shade, np.uint8)
    image[3:6] = 10
    path.parent.mkdir(parents=True, exist_ok=True)
    image_files.write(path, image)
    return path


def run(
    pictures: list[Path],
    out: Path,
    executor: Executor | None = None,
    steps: list[Step] = STEPS,
    format: str = "png",
    **options: Any,
) -> Report:
    make_folder(out)
    outputs = Outputs(out, pictures, steps, f".{format}")
    return Batch(executor or SequentialExecutor(), steps, outputs, format, **options).run(pictures)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- which pictures ---


def test_folders_and_files_are_found_and_missing_ones_are_failures(tmp_path: Path) -> None:
    inside = picture(tmp_path / "photos" / "cat.png")
    alone = picture(tmp_path / "dog.png")
    (tmp_path / "empty").mkdir()
    found, failed = find_pictures([str(tmp_path / "photos"), str(alone), str(alone), str(tmp_path / "empty")])
    assert found == [inside, alone]
    assert [(failure.source, type(failure.error)) for failure in failed] == [(tmp_path / "empty", ImageError)]


def test_without_a_source_the_labs_photographs_are_used() -> None:
    found, failed = find_pictures([])
    assert len(found) > 10 and not failed


# --- what is written ---


def test_each_output_is_the_input_after_the_filters(tmp_path: Path) -> None:
    cat = picture(tmp_path / "in" / "cat.png")
    report = run([cat], tmp_path / "out")
    assert (tmp_path / "out" / "cat-blur-edges.png").read_bytes() == process_encoded(cat.read_bytes(), STEPS)
    assert [(done.source, done.output.name) for done in report.written] == [(cat, "cat-blur-edges.png")]
    assert report.total == 1 and report.seconds > 0 and report.per_second > 0


def test_equal_output_names_get_numbers_in_input_order(tmp_path: Path) -> None:
    pictures = [
        picture(tmp_path / folder / "cat.png", shade) for folder, shade in (("a", 50), ("b", 120), ("c", 250))
    ]
    for _again in range(2):
        report = run(pictures, tmp_path / "out", ThreadPoolExecutor(3))
        expected = ["cat-blur-edges.png", "cat-blur-edges-2.png", "cat-blur-edges-3.png"]
        assert [done.output.name for done in report.written] == expected
        assert [done.source for done in report.written] == pictures
    assert names(tmp_path / "out") == sorted(expected)


def test_names_equal_on_some_file_systems_get_numbers(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, [], STEPS, ".png")
    assert [outputs.name(Path(name)).name for name in ("Cat.png", "cat.jpg")] == [
        "Cat-blur-edges.png",
        "cat-blur-edges-2.png",
    ]


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    earlier = picture(tmp_path / "cat-blur-edges.png")
    before = earlier.read_bytes()
    run([cat, earlier], tmp_path)
    assert earlier.read_bytes() == before
    assert names(tmp_path) == [
        "cat-blur-edges-2.png",
        "cat-blur-edges-blur-edges.png",
        "cat-blur-edges.png",
        "cat.png",
    ]


def test_input_behind_a_link_is_recognised(tmp_path: Path) -> None:
    cat = picture(tmp_path / "in" / "cat.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat-blur-edges.png").symlink_to(cat)
    before = cat.read_bytes()
    run([cat], tmp_path / "out")
    assert cat.read_bytes() == before


def test_a_very_long_name_is_shortened(tmp_path: Path) -> None:
    long = picture(tmp_path / "in" / "short.png").rename(tmp_path / "in" / f"{'ñ' * 120}.png")
    assert len(run([long], tmp_path / "out").written) == 1


# --- what fails ---


def test_failed_picture_is_named_and_the_others_are_processed(tmp_path: Path) -> None:
    good = picture(tmp_path / "in" / "good.png")
    text = tmp_path / "in" / "text.png"
    text.write_text("no picture")
    truncated = tmp_path / "in" / "truncated.png"
    truncated.write_bytes(good.read_bytes()[:60])
    gone = tmp_path / "in" / "gone.png"
    report = run([text, truncated, good, gone], tmp_path / "out")
    assert [done.source for done in report.written] == [good]
    assert [failure.source for failure in report.failed] == [text, truncated, gone]
    for failure, reason in zip(report.failed, ("not a PNG", "truncated", "does not exist"), strict=True):
        assert str(failure.source) in str(failure.error) and reason in str(failure.error)
    assert names(tmp_path / "out") == ["good-blur-edges.png"]


def test_failure_not_caused_by_the_picture_keeps_its_message(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    report = run(
        [cat], tmp_path / "out", FakeExecutor(lambda future: future.set_exception(TaskHung("it hung")))
    )
    assert [str(failure.error) for failure in report.failed] == ["it hung"]


def test_full_disk_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cat, dog = picture(tmp_path / "in" / "cat.png"), picture(tmp_path / "in" / "dog.png")
    replace = os.replace

    def fail_for_cat(source: Any, target: Any) -> None:
        if "cat" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_for_cat)
    monkeypatch.setattr(os, "link", fail_for_cat)
    report = run([cat, dog], tmp_path / "out")
    assert "No space left" in str(report.failed[0].error)
    assert names(tmp_path / "out") == ["dog-blur-edges.png"]


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_impossible_folder_is_refused_before_any_work(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="file"):
        make_folder(tmp_path / out)


# --- on its way ---


class FakeExecutor(Executor):
    """Ends each call at once with ``end``, or leaves it open."""

    def __init__(self, end: Callable[[Future[Any]], None] = lambda future: None) -> None:
        self.futures: list[Future[Any]] = []
        self._end = end

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        self._end(future)
        return future


def test_cluster_going_down_ends_the_batch_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(batch, "MOST_UNDER_WAY", 40)
    pictures = [picture(tmp_path / "in" / f"{number:03}.png") for number in range(batch.MOST_UNDER_WAY + 5)]

    def gone() -> None:
        raise ClusterNotRunning("it went down")

    executor = FakeExecutor()
    report = run(pictures, tmp_path / "out", executor, on_wait=gone)
    assert len(executor.futures) == batch.MOST_UNDER_WAY
    assert isinstance(report.ended_by, ClusterNotRunning)
    assert [failure.source for failure in report.failed] == pictures


def test_a_folder_is_handed_over_at_once_up_to_the_clients_quota_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "LOOK_EVERY_S", 0.01)
    assert Rules().max_client_bytes == batch.MOST_BYTES_UNDER_WAY
    pictures = [picture(tmp_path / "in" / f"{number:03}.png") for number in range(300)]
    executor = FakeExecutor()
    handed_over: list[int] = []

    def all_end() -> None:
        handed_over.append(len(executor.futures))
        for future in executor.futures:
            future.set_result(b"data")

    report = run(pictures, tmp_path / "out", executor, on_wait=all_end)
    assert handed_over == [300] and len(report.written) == 300


def test_thousands_of_small_pictures_are_handed_over_at_once_up_to_the_clients_quota_of_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "LOOK_EVERY_S", 0.01)
    assert Rules().max_client_tasks == batch.MOST_UNDER_WAY
    pictures = 5_000 * [picture(tmp_path / "icon.png")]
    executor = FakeExecutor()
    handed_over: list[int] = []

    def all_are_cancelled() -> None:
        handed_over.append(len(executor.futures))
        for future in executor.futures:
            future.cancel()

    report = run(pictures, tmp_path / "out", executor, on_wait=all_are_cancelled)
    assert handed_over == [5_000] and len(report.failed) == 5_000


def test_pictures_in_flight_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(tmp_path / "in" / f"{number}.png") for number in range(6)]
    monkeypatch.setattr(batch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(batch, "MOST_BYTES_UNDER_WAY", 2 * pictures[0].stat().st_size)
    executor = FakeExecutor()
    most_open = 0

    def one_ends() -> None:
        nonlocal most_open
        open_now = [future for future in executor.futures if not future.done()]
        most_open = max(most_open, len(open_now))
        open_now[0].set_result(b"data")

    report = run(pictures, tmp_path / "out", executor, on_wait=one_ends)
    assert len(report.written) == 6 and most_open == 2


def test_progress_is_reported_after_every_picture(tmp_path: Path) -> None:
    pictures = [picture(tmp_path / "a.png"), tmp_path / "missing.png", picture(tmp_path / "b.png")]
    told: list[int] = []
    run(pictures, tmp_path / "out", on_progress=lambda report: told.append(report.total))
    assert told == [1, 2, 3]


# --- results that are there already ---


def test_another_pictures_result_is_kept_and_the_new_one_gets_a_number(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a" / "same.png", 50), tmp_path / "b" / "same.jpg"
    second.parent.mkdir()
    image_files.write(second, np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8))
    out = tmp_path / "out"
    kept = run([first], out).written[0].output
    before = kept.read_bytes()
    done = run([second], out).written[0]
    assert (done.output.name, done.instead_of) == ("same-blur-edges-2.png", kept)
    assert kept.read_bytes() == before


def test_other_parameters_give_another_file_and_the_same_run_gives_none(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    out = tmp_path / "out"
    for radius in (1, 9, 1, 9, 9):
        run([cat], out, steps=parse_steps(["blur"], {"blur": {"radius": radius}}))
    assert names(out) == ["cat-blur-2.png", "cat-blur.png"]


def test_overwrite_replaces_the_earlier_result(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    out = tmp_path / "out"
    for radius in (1, 9):
        steps = parse_steps(["blur"], {"blur": {"radius": radius}})
        done = run([cat], out, steps=steps, overwrite=True).written[0]
    assert names(out) == ["cat-blur.png"] and done.instead_of is None
    assert done.output.read_bytes() == process_encoded(cat.read_bytes(), steps)


@pytest.mark.parametrize("kind", ["folder", "text", "empty", "dangling link"])
def test_whatever_has_the_name_is_kept(tmp_path: Path, kind: str) -> None:
    cat = picture(tmp_path / "cat.png")
    (tmp_path / "out").mkdir()
    taken = tmp_path / "out" / "cat-blur-edges.png"
    if kind == "folder":
        taken.mkdir()
    elif kind == "dangling link":
        taken.symlink_to(tmp_path / "nowhere.png")
    else:
        taken.write_text("my notes" if kind == "text" else "")
    done = run([cat], tmp_path / "out").written[0]
    assert (done.output.name, done.instead_of) == ("cat-blur-edges-2.png", taken)
    assert taken.is_dir() or taken.is_symlink() or taken.read_text() in ("my notes", "")
    assert not (tmp_path / "nowhere.png").exists()


def test_a_result_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: Any, target: Any) -> None:
        if not str(target).endswith("-2.png"):
            Path(target).write_text("of another submit")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    cat = picture(tmp_path / "cat.png")
    done = run([cat], tmp_path / "out").written[0]
    assert done.output.name == "cat-blur-edges-2.png"
    assert (tmp_path / "out" / "cat-blur-edges.png").read_text() == "of another submit"


def test_a_file_system_without_hard_links_keeps_earlier_results_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(source: Any, target: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    cat = picture(tmp_path / "cat.png")
    out = tmp_path / "out"
    for radius in (1, 9):
        run([cat], out, steps=parse_steps(["blur"], {"blur": {"radius": radius}}))
    assert names(out) == ["cat-blur-2.png", "cat-blur.png"]


# --- folders ---


def test_a_link_to_itself_loses_no_other_picture_and_is_named(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "nowhere.jpg").symlink_to("gone.jpg")
    skipped: list[Skipped] = []
    assert find_pictures([str(tmp_path)], on_skipped=skipped.append) == ([cat], [])
    assert [each.path.name for each in skipped] == ["loop.png", "nowhere.jpg"]
    assert all("cannot be read" in str(each.reason) for each in skipped)


@pytest.mark.parametrize("name", ["a.webp", "a.BMP", "a.tif", "a.TIFF", "a.gif", "a.jfif"])
def test_other_formats_in_a_folder_are_taken(tmp_path: Path, name: str) -> None:
    suffix = ".jpg" if name.endswith("jfif") else Path(name).suffix.lower()
    (tmp_path / name).write_bytes(cv2.imencode(suffix, np.full((9, 9, 3), 90, np.uint8))[1].tobytes())
    found, failed = find_pictures([str(tmp_path)])
    assert [path.name for path in found] == [name] and not failed
    assert len(run(found, tmp_path / "out").written) == 1


def test_what_is_skipped_in_a_folder_comes_with_a_reason(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "cat.png")
    picture(tmp_path / "in" / "more" / "dog.png")
    picture(tmp_path / "in" / "._cat.png")
    (tmp_path / "in" / "notes.txt").write_text("")
    (tmp_path / "in" / ".DS_Store").write_text("")
    skipped: list[Skipped] = []
    find_pictures([str(tmp_path / "in")], on_skipped=skipped.append)
    assert {each.path.name: str(each.reason) for each in skipped} == {
        "._cat.png": "hidden",
        "more": "a folder: --recursive reads it too",
        "notes.txt": "not named like a picture",
    }


def test_subfolders_are_read_on_request_without_links_and_results(tmp_path: Path) -> None:
    cat, dog = picture(tmp_path / "in" / "cat.png"), picture(tmp_path / "in" / "more" / "deep" / "cat.png")
    picture(tmp_path / "in" / "out" / "cat-blur.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    skipped: list[Skipped] = []
    found, failed = find_pictures(
        [str(tmp_path / "in")], True, without=tmp_path / "in" / "out", on_skipped=skipped.append
    )
    assert (found, failed) == ([cat, dog], [])
    assert [each.path.name for each in skipped] == ["again", "out"]


def test_notes_tell_of_frames_and_depth(tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    image_files.write(deep, np.full((9, 9), 60_000, np.uint16))
    assert run([deep], tmp_path / "out").notes == []
    assert [str(note).split(",")[0] for note in run([deep], tmp_path / "out", format="jpg").notes] == [
        f"{deep} has 16 bits a channel"
    ]


def test_of_equal_names_in_one_run_the_numbered_ones_are_named(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "in" / "a.png", 50), picture(tmp_path / "in" / "a.jpg", 90)
    out = tmp_path / "out"
    done = run([first, second], out).written
    assert [each.shared for each in done] == [None, out / "a-blur-edges.png"]
    assert run([first, second], out).written[1].shared == out / "a-blur-edges.png"


def test_an_output_beside_an_input_of_its_name_is_named(tmp_path: Path) -> None:
    cat, taken = picture(tmp_path / "cat.png"), picture(tmp_path / "cat-blur-edges.png")
    done = run([cat, taken], tmp_path).written[0]
    assert (done.output.name, done.shared) == ("cat-blur-edges-2.png", taken)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (failure,) = run([tmp_path / "empty.png"], tmp_path / "out").failed
    assert str(failure.error) == f"{tmp_path / 'empty.png'} is empty"


@pytest.mark.parametrize("name", ["p.heic", "P.HEIF", "a.avif", "s.svg", "d.pdf", "raw.CR2"])
def test_a_picture_of_another_format_is_skipped_by_its_name(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "cat.png")
    (tmp_path / name).write_text("x")
    skipped: list[Skipped] = []
    find_pictures([str(tmp_path)], on_skipped=skipped.append)
    format = name.rpartition(".")[2].upper()
    assert [str(each.reason) for each in skipped] == [
        f"{format}, which the lab cannot read; save it as JPEG or PNG"
    ]


def test_a_hidden_folder_is_named_and_not_read(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    picture(tmp_path / ".checkpoints" / "dog.png")
    skipped: list[Skipped] = []
    assert find_pictures([str(tmp_path)], True, on_skipped=skipped.append) == ([cat], [])
    assert [(each.path.name, str(each.reason)) for each in skipped] == [(".checkpoints", "hidden")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow only shorter paths")
def test_folders_in_folders_without_end_are_read(tmp_path: Path) -> None:
    deep = tmp_path
    for _level in range(sys.getrecursionlimit() + 10):
        deep = deep / "d"
        deep.mkdir()
    picture(deep / "cat.png")
    found, failed = find_pictures([str(tmp_path)], True)
    assert (found, failed) == ([deep / "cat.png"], [])
    for level in (deep, *deep.parents):  # shutil.rmtree, with which pytest clears, recurses
        if level == tmp_path:
            break
        for file in level.glob("*.png"):
            file.unlink()
        level.rmdir()


def test_links_between_folders_are_not_followed(tmp_path: Path) -> None:
    cat = picture(tmp_path / "a" / "cat.png")
    dog = picture(tmp_path / "b" / "dog.png")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b", target_is_directory=True)
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "loop").symlink_to("loop")
    skipped: list[Skipped] = []
    assert find_pictures([str(tmp_path)], True, on_skipped=skipped.append) == ([cat, dog], [])
    assert sorted(each.path.name for each in skipped) == ["loop", "to_a", "to_b"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_pipes_devices_and_folders_named_like_pictures_are_skipped(tmp_path: Path) -> None:
    cat = picture(tmp_path / "cat.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    skipped: list[Skipped] = []
    assert find_pictures([str(tmp_path)], on_skipped=skipped.append) == ([cat], [])
    assert {each.path.name: str(each.reason) for each in skipped} == {
        "folder.png": "a folder: --recursive reads it too",
        "pipe.png": "not a file",
        "zero.png": "not a file",
    }


@pytest.mark.parametrize("name", ["ñandú 🐦", "line\nfeed", "x%sy{name}", "a" * 250, "ñ" * 125, "-", "..."])
@pytest.mark.skipif(os.name == "nt", reason="Windows allows fewer names")
def test_any_name_of_an_input_gives_an_output(tmp_path: Path, name: str) -> None:
    source = picture(tmp_path / "in" / "short.png").rename(tmp_path / "in" / f"{name}.png")
    (done,) = run([source], tmp_path / "out").written
    assert done.output.is_file() and done.shared is None
    assert done.output.name.startswith(name[:99])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems accept UTF-8 only")
def test_a_name_that_is_no_utf_8_is_kept(tmp_path: Path) -> None:
    source = picture(tmp_path / "in" / "short.png")
    latin = Path(os.fsdecode(os.fsencode(source.parent) + b"/caf\xe9.png"))
    source.rename(latin)
    (done,) = run([latin], tmp_path / "out").written
    assert os.fsencode(done.output.name) == b"caf\xe9-blur-edges.png"


def test_ctrl_c_while_a_picture_is_written_does_not_make_it_unsaid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture(tmp_path / "in" / f"{number}.png", 40 * number) for number in (1, 2, 3)]
    real = image_files.write_new_bytes

    def write_and_interrupt(path: Path, data: bytes) -> bool:
        done = real(path, data)
        signal.raise_signal(signal.SIGINT)  # the file is there, and no line of ours has run since
        return done

    monkeypatch.setattr(image_files, "write_new_bytes", write_and_interrupt)
    report = run(pictures, tmp_path / "out")
    assert report.interrupted
    assert [done.output.name for done in report.written] == names(tmp_path / "out") == ["1-blur-edges.png"]
