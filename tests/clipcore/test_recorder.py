"""Step records on their way to the host."""

import math
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from clipcore import Clipper
from clipcore.recorder import Recorder
from clipcore.stats import COLUMNS


def steps(count, **settings):
    parameter = nn.Parameter(torch.zeros(2))
    clipper = Clipper([("w", parameter)], **settings)
    for step in range(count):
        parameter.grad = torch.tensor([3.0, 4.0]) * (step + 1)
        yield clipper.clip_()


def test_records_arrive_in_order_with_every_column():
    """The columns of a step, then what the user logged; on the CPU at once."""
    recorder = Recorder()
    for stats in steps(3):
        recorder.push(stats, {"loss": torch.tensor(0.5), "lr": 1, "accuracy": np.float32(0.25)})
    records = recorder.take()
    assert [record.step for record in records] == [1, 2, 3]
    assert [record.values["norm"] for record in records] == [5.0, 10.0, 15.0]
    assert list(records[0].values) == [*COLUMNS, "loss", "lr", "accuracy"]
    assert (records[0].values["loss"], records[0].values["lr"], records[0].values["accuracy"]) == (0.5, 1.0, 0.25)
    assert (records[0].mode, records[0].layers, records[0].exponents) == ("norm", None, None)
    assert recorder.take() == []


def test_only_what_a_record_has_is_kept():
    """A link that hangs for ten seconds does not hold thousands of steps' tensors."""
    recorder = Recorder()
    for stats in steps(1):
        recorder.push(stats, {}, layers=True)
        of_the_step = weakref.ref(stats.outcome.written)
    del stats
    assert of_the_step() is None
    assert [record.step for record in recorder.take()] == [1]


def test_layers_and_exponents_come_when_asked_for():
    """Exponents on the steps that counted them."""
    recorder = Recorder()
    for stats in steps(2, exponents=1):
        recorder.push(stats, {}, layers=True)
    first, second = recorder.take()
    assert first.layers == ([5.0], [pytest.approx(0.2, rel=1e-5)], [0.0])
    assert sum(first.exponents) == 2
    assert second.layers == ([10.0], [pytest.approx(0.1, rel=1e-5)], [0.0])
    assert second.exponents is None


def test_a_record_names_whose_gradients_were_not_finite():
    """In the parameters' order; those without a gradient are passed over."""
    recorder = Recorder()
    parameters = {name: nn.Parameter(torch.zeros(2)) for name in "abcd"}
    clipper = Clipper(parameters.items())
    for bad in ((), ("b", "d"), ()):
        for name in "bcd":
            parameters[name].grad = torch.full((2,), math.nan if name in bad else 1.0)
        recorder.push(clipper.clip_(), {})
    assert [record.nonfinite_in for record in recorder.take()] == [(), ("b", "d"), ()]


@pytest.mark.parametrize("value", ["0.5", None, [1.0], torch.ones(2), torch.ones((), dtype=torch.complex64)])
def test_what_is_no_number_is_refused(value):
    """And the step is not queued."""
    recorder = Recorder()
    (stats,) = steps(1)
    with pytest.raises(TypeError, match=r".loss. must be a number or a tensor of one element, got"):
        recorder.push(stats, {"loss": value})
    assert recorder.take() == []


def test_a_loss_that_requires_grad_is_recorded_by_its_value_now():
    """What happens to the tensor later does not matter."""
    recorder = Recorder()
    (stats,) = steps(1)
    total = torch.ones((), requires_grad=True) * 2
    recorder.push(stats, {"loss": total})
    with torch.no_grad():
        total += 1
    assert recorder.take()[0].values["loss"] == 2.0


def test_a_reader_on_another_thread_loses_nothing():
    """While one thread records, another gets every step, once and in order."""
    recorder, seen, done = Recorder(), [], threading.Event()

    def read():
        while not done.is_set():
            seen.extend(record.step for record in recorder.take())
        seen.extend(record.step for record in recorder.flush(timeout_s=1.0))

    reader = threading.Thread(target=read)
    reader.start()
    for stats in steps(500):
        recorder.push(stats, {})
    done.set()
    reader.join()
    assert seen == list(range(1, 501))


class Event:
    """A device's event that has not passed yet."""

    def __init__(self):
        self.passed = False

    def query(self):
        return self.passed


def test_a_record_waits_for_its_event_and_later_ones_for_it(monkeypatch):
    """Order is kept even when a later event passes first; flush waits no longer than it may."""
    events = [Event(), Event()]
    waiting = iter([[event] for event in events])
    monkeypatch.setattr("clipcore.recorder._events", lambda _: next(waiting))
    monkeypatch.setattr("clipcore.recorder._Pending.is_on_host", lambda _: False)
    recorder = Recorder()
    for stats in steps(2):
        recorder.push(stats, {})
    events[1].passed = True
    assert recorder.take() == []
    assert recorder.flush(timeout_s=0.01) == []
    threading.Timer(0.05, setattr, (events[0], "passed", True)).start()
    assert [record.step for record in recorder.flush(timeout_s=5.0)] == [1, 2]
