"""The gate that lets a page pause, resume, step and stop a loop."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipcore.gate import Gate


class Loop:
    """A training loop on a thread of its own that counts its steps."""

    def __init__(self):
        self.obeyed = []
        self.steps = 0
        self.moved = threading.Condition()
        self.gate = Gate(self.obey)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def obey(self, command_id, command):
        with self.moved:
            self.obeyed.append((command_id, command, self.steps))
            self.moved.notify_all()

    def run(self):
        while self.gate.pass_():
            with self.moved:
                self.steps += 1
                self.moved.notify_all()

    def wait_until(self, condition):
        with self.moved:
            assert self.moved.wait_for(condition, timeout=5)


@pytest.fixture
def loop():
    loop = Loop()
    loop.thread.start()
    loop.wait_until(lambda: loop.steps > 10)
    yield loop
    loop.gate.open()
    loop.thread.join(5)
    assert not loop.thread.is_alive()


def pause(loop):
    loop.gate.submit("p", "pause")
    loop.wait_until(lambda: loop.obeyed)
    return loop.obeyed[-1][2]


def test_a_paused_loop_takes_no_step(loop):
    """From the step at which pause was obeyed, the loop waits."""
    step = pause(loop)
    loop.thread.join(0.05)
    assert loop.steps == step


def test_step_lets_exactly_one_through(loop):
    """Each `step` command is worth one step, also when several arrive at once."""
    paused_at = pause(loop)
    for name in ("a", "b", "c"):
        loop.gate.submit(name, "step")
    loop.wait_until(lambda: loop.steps == paused_at + 3)
    loop.thread.join(0.05)
    assert loop.steps == paused_at + 3


def test_resume_lets_the_loop_run_again(loop):
    """After resume the loop advances by itself, step after step."""
    paused_at = pause(loop)
    loop.gate.submit("r", "resume")
    loop.wait_until(lambda: loop.steps > paused_at + 10)
    assert loop.steps > paused_at + 10
    assert loop.obeyed[-1] == ("r", "resume", paused_at)


def test_stop_ends_the_loop_even_while_paused(loop):
    """`pass_` returns False after stop."""
    pause(loop)
    loop.gate.submit("s", "stop")
    loop.thread.join(5)
    assert not loop.thread.is_alive()
    assert loop.obeyed[-1][:2] == ("s", "stop")


def test_commands_are_obeyed_in_order():
    """What came in first is obeyed first."""
    obeyed = []
    gate = Gate(lambda id_, command: obeyed.append((id_, command)))
    assert gate.pass_()
    for index, command in enumerate(("pause", "resume", "pause", "resume")):
        gate.submit(str(index), command)
    assert gate.pass_()
    assert obeyed == [("0", "pause"), ("1", "resume"), ("2", "pause"), ("3", "resume")]


def test_a_loop_that_never_passes_takes_no_commands():
    """A script without run.proceed() answers with what to add."""
    with pytest.raises(ValueError, match=r"run\.proceed\(\)"):
        Gate(lambda *_: None).submit("x", "pause")


def test_an_unknown_command_names_the_known_ones():
    """The error lists what there is."""
    gate = Gate(lambda *_: None)
    gate.pass_()
    with pytest.raises(ValueError, match="pause, resume, step, stop, got 'jump'"):
        gate.submit("x", "jump")


def test_no_command_is_lost_between_threads(loop):
    """A thousand commands from four threads are all obeyed, once."""
    with ThreadPoolExecutor(4) as pool:
        for index in range(1000):
            pool.submit(loop.gate.submit, f"{index}", ("pause", "resume")[index % 2])
    loop.wait_until(lambda: len(loop.obeyed) == 1000)
    assert len({id_ for id_, *_ in loop.obeyed}) == 1000
