"""Asking a net: the same answers whoever computes them."""

import torch

from tasks.core.predict import predict
from tasks.nets.catalog import build


def test_threads_change_no_bit_and_are_given_back() -> None:
    """Five batches, the last one short, by one thread and by three; afterwards torch has as many threads as before."""
    torch.manual_seed(0)
    net = build("wrn10", channels=1, classes=4, width=1, dropout=0.0, stochastic_depth=0.0).eval()
    image_NCHW = torch.randint(0, 256, (37, 1, 8, 8), dtype=torch.uint8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone_NC = predict(net, image_NCHW, 8)
        torch.set_num_threads(3)
        together_NC = predict(net, image_NCHW, 8)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone_NC, together_NC)
    with torch.inference_mode():
        assert torch.allclose(alone_NC[-5:], net(image_NCHW[-5:]).softmax(dim=1))
