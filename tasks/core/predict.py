"""What a net believes about clean images. Letters: N images, C classes, H height, W width."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def predict(net: nn.Module, image_NCHW: Tensor, batch: int) -> Tensor:
    """Class probabilities, float32 (N, C) on the CPU, of uint8 images without any noise (the paper's clean teacher).

    On a CPU each of torch's threads takes batches of its own: threads that share a batch wait for each other at every
    layer, which takes ten times as long once another process wants the cores. The numbers are the same, bit for bit.
    """
    assert not net.training, "predict wants a net in eval mode: a noisy teacher makes worse labels"
    device = next(net.parameters()).device
    parts = torch.split(image_NCHW, batch)

    @torch.inference_mode()
    def ask(part: Tensor) -> Tensor:
        prob_NC: Tensor = net(part.to(device)).float().softmax(dim=1).cpu()
        return prob_NC

    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if min(threads, len(parts)) == 1:
        return torch.cat([ask(part) for part in parts])
    with _one_thread_each(min(threads, len(parts))) as pool:
        return torch.cat(list(pool.map(ask, parts)))


@contextmanager
def _one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads within which torch uses no others; outside of them, and afterwards, it is as it was."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
