import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
