"""Asking a net: the same answers whoever computes them."""

import pytest
import torch

from tasks.core.predict import predict, predict_each
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


def test_a_series_is_what_each_of_it_is() -> None:
    """In order, with what came along, whether somebody hears it to its end or not; an error says itself."""
    torch.manual_seed(0)
    net = build("wrn10", channels=1, classes=4, width=1, dropout=0.0, stochastic_depth=0.0).eval()
    chunks = [(n, torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8)) for n in (9, 1, 17, 8)]
    made = list(predict_each(net, chunks, 8))
    assert [n for n, _ in made] == [9, 1, 17, 8]
    for (_, image_NCHW), (_, prob_NC) in zip(chunks, made, strict=True):
        assert torch.equal(prob_NC, predict(net, image_NCHW, 8))
    assert next(predict_each(net, iter(chunks), 8))[0] == 9
    assert list(predict_each(net, [], 8)) == []
    with pytest.raises(RuntimeError, match="channels"):
        list(predict_each(net, [(0, chunks[0][1].repeat(1, 2, 1, 1))], 8))
