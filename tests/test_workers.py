"""The processes that train seeds side by side: how many at once, how they end, and what one that fails leaves."""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.support.errors import PipelineError
from stages.support.processes import REPRO_FOLDER
from stages.support.workers import EndEpoch, Slots, train_side_by_side

from .conftest import Project
from .faults import is_alive, wait_until
from .forked import started


def note(folder: Path, seed: int, end_epoch: EndEpoch) -> None:
    """Writes how many have ended, ends an epoch, and waits until all that are to run beside it have started."""
    (folder / f"started-{seed}").write_text(str(len(list(folder.glob("ended-*")))))
    end_epoch(1, {"loss": 0.5})
    wait_until((folder / "go").exists)
    (folder / f"ended-{seed}").touch()


def fail(folder: Path, seed: int, end_epoch: EndEpoch) -> None:
    if seed == 11:
        wait_until((folder / "started-10").exists)
        raise PipelineError("params.yaml: architectures.a: expected a finite loss, found nan")
    note(folder, seed, end_epoch)


@pytest.mark.parametrize(
    ("count", "method", "slots"), [(1, "fork", 0), (2, "fork", 0), (2, "spawn", 0), (1, "fork", 3), (3, "fork", 2)]
)
def test_as_many_train_at_once_as_there_are_slots(count: int, method: str, slots: int, tmp_path, monkeypatch) -> None:
    if slots:  # of make repro
        monkeypatch.setenv(REPRO_FOLDER, str(tmp_path))
        Slots.make(tmp_path, slots)
        count = min(count, slots)
    calls: list[tuple] = []

    def end_epoch(seed: int, epoch: int, logs: dict[str, float]) -> None:
        calls.append((seed, epoch, logs["loss"]))
        if len(list(tmp_path.glob("started-*"))) >= count:
            (tmp_path / "go").touch()

    train = functools.partial(note, tmp_path)
    train_side_by_side([10, 11, 12], train, end_epoch, count, method, lambda *call: calls.append(call))
    assert [[call[1:] for call in calls if call[0] == seed] for seed in (10, 11, 12)] == [[(1, 0.5), (None,)]] * 3
    started = [(tmp_path / f"started-{seed}").read_text() for seed in (10, 11, 12)]
    assert started == ["0", "1", "2"] if count == 1 else started[0] == "0" < started[2]


def test_a_training_is_drawn_when_there_is_room_and_can_be_ended_early(tmp_path: Path) -> None:
    ended: list[int] = []

    def seeds() -> Iterator[int]:
        yield 10
        assert not ended, "10 was ended early, which is no end"
        (tmp_path / "go").touch()
        yield 11
        assert ended == [11]

    train = functools.partial(note, tmp_path)
    train_side_by_side(seeds(), train, lambda seed, *_: seed == 10, 1, end=lambda seed, _: ended.append(seed))
    assert [path.name for path in tmp_path.glob("ended-*")] == ["ended-11"]


def test_one_that_fails_is_one_line_and_ends_the_others_unless_it_is_handled(tmp_path: Path) -> None:
    line = "params.yaml: architectures.a: expected a finite loss, found nan"
    with pytest.raises(PipelineError, match=f"^{line}$"):
        train_side_by_side([10, 11], functools.partial(fail, tmp_path), lambda *_: None, 2)
    assert not list(tmp_path.glob("ended-*"))

    (tmp_path / "go").touch()
    errors: dict[int, PipelineError | None] = {}
    train_side_by_side([10, 11], functools.partial(fail, tmp_path), lambda *_: None, 2, end=errors.__setitem__)
    assert (errors[10], str(errors[11])) == (None, line)


def wait_for_the_last(folder: Path, seed: int, _: EndEpoch) -> None:
    (folder / str(seed)).touch()
    wait_until(lambda: seed != 11 or (folder / "12").exists())


def test_a_slot_is_free_once_its_training_has_ended_although_one_that_was_forked_later_goes_on(tmp_path: Path) -> None:
    train_side_by_side([10, 11, 12], functools.partial(wait_for_the_last, tmp_path), lambda *_: None, 2)


def wait_for_a_slot(folder: Path, _: int, __: EndEpoch) -> None:
    wait_until(lambda: Slots(folder).take() is not None)


def test_a_slot_that_no_training_needs_is_left_to_other_stages(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(REPRO_FOLDER, str(tmp_path))
    Slots.make(tmp_path, 2)
    train_side_by_side([10], functools.partial(wait_for_a_slot, tmp_path), lambda *_: None, 2)


def die(number: int, _: int, __: EndEpoch) -> None:
    os.kill(os.getpid(), number) if number else 1 / 0


KILLED = "the training was killed; memory was probably short;"


@pytest.mark.parametrize(
    ("number", "count", "line"),
    [
        (signal.SIGKILL, 2, f"{KILLED} rerun with JOBS=1, such as make repro JOBS=1"),
        (signal.SIGKILL, 1, f"{KILLED} close other programs, or make batches or layers smaller"),
        (signal.SIGTERM, 1, "the training was ended by SIGTERM; rerun to continue"),
        (0, 1, "the training failed, see above"),
    ],
)
def test_one_that_is_killed_or_fails_says_what_to_do(number: int, count: int, line: str, capfd) -> None:
    with pytest.raises(PipelineError, match=f"^seed 10: {line}$"):
        train_side_by_side([10], functools.partial(die, number), lambda *_: None, count)
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (number == 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_workers_end_with_their_stage_and_what_they_have_done_is_kept(project: Project, number: int) -> None:
    project.edit(lambda params: params["train"].update(seeds=[11, 12]))
    project.edit(lambda params: params["architectures"]["cnn"]["fit"].update(epochs=1_000_000))
    line = ["python", "-m", "stages.train", "cnn", "data/prepared/train", "data/models/cnn"]
    with started(project, *line) as stage:
        kept = [project.path / f".checkpoints/cnn/{seed}.npz" for seed in (11, 12)]
        if len(os.sched_getaffinity(0)) == 1:
            kept = kept[:1]
        wait_until(lambda: all(path.exists() for path in kept))
        workers = psutil.Process(stage.process.pid).children()
        assert len(workers) == len(kept)
        (os.killpg if number == signal.SIGINT else os.kill)(stage.process.pid, number)  # Ctrl-C is for all
        status, printed = stage.wait()
    assert status == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in printed
    for worker in workers:
        wait_until(lambda worker=worker: not is_alive(worker))
    assert all(path.exists() for path in kept)


CUT = """\
        import time
        if seed == 12 and not Path("go on").exists():
            while not (self.output / "11.csv").exists():
                time.sleep(0.1)
            raise OSError("cut")
"""


def test_a_seed_that_was_trained_is_not_trained_again_after_another_was_cut(project: Project) -> None:
    """Its checkpoint stays until the whole stage has succeeded, as DVC deletes the outputs of a stage that it runs."""
    project.edit(lambda params: params["train"].update(seeds=[11, 12]))
    module = project.path / "stages/models/training.py"
    text = module.read_text()
    start, save = "        make_deterministic(seed, self.kernels)\n", "        checkpoint.save(model, history)\n"
    log = "        with open('saves', 'a') as log:\n            log.write(f'{seed}\\n')\n"
    module.write_text(text.replace(start, CUT + start).replace(save, save + log))
    done = project.run("dvc", "repro", "train@cnn", check=False)
    assert done.returncode
    assert "OSError: cut" in done.stderr
    assert (project.path / "saves").read_text() == "11\n"

    (project.path / "go on").touch()
    assert "cnn: trained with seeds 11, 12" in project.repro("train@cnn").output
    assert (project.path / "saves").read_text() == "11\n12\n", "an epoch of seed 11 was trained again"
    assert not list(project.path.glob(".checkpoints/*"))
