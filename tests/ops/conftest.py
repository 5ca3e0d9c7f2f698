"""What every test of an op runs under besides."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    # the tensors are small: on a busy machine, threads that wait for each other took three times as long
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
