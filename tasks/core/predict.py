"""What a net believes about clean images. Letters: N images, C classes, H height, W width."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

Key = TypeVar("Key")


def predict(net: nn.Module, image_NCHW: Tensor, batch: int) -> Tensor:
    """Class probabilities, float32 (N, C) on the CPU, of uint8 images without any noise (the paper's clean teacher)."""
    return next(predict_each(net, [("", image_NCHW)], batch))[1]


def predict_each(net: nn.Module, chunks: Iterable[tuple[Key, Tensor]], batch: int) -> Iterator[tuple[Key, Tensor]]:
    """`predict` of each of the chunks, in their order, with what came along: two chunks are held at a time.

    On a CPU each of torch's threads takes batches of its own: threads that share a batch wait for each other at every
    layer, which takes ten times as long once another process wants the cores. The next chunk is there before the last
    one ends, so that no thread waits between them. The numbers are the same, bit for bit, however images are cut.
    """
    assert not net.training, "predict wants a net in eval mode: a noisy teacher makes worse labels"
    device = next(net.parameters()).device

    @torch.inference_mode()
    def ask(part: Tensor) -> Tensor:
        prob_NC: Tensor = net(part.to(device)).float().softmax(dim=1).cpu()
        return prob_NC

    with _one_thread_each(torch.get_num_threads() if device.type == "cpu" else 1) as pool:
        asked = deque[tuple[Key, list[Future[Tensor]]]]()
        for key, image_NCHW in chunks:
            asked.append((key, [pool.submit(ask, part) for part in torch.split(image_NCHW, batch)]))
            if len(asked) > 1:
                yield _gathered(*asked.popleft())
        while asked:
            yield _gathered(*asked.popleft())


def _gathered(key: Key, parts: list[Future[Tensor]]) -> tuple[Key, Tensor]:
    return key, torch.cat([part.result() for part in parts])


@contextmanager
def _one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads within which torch uses no others; outside of them, and afterwards, it is as it was."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)  # nobody waits for them any more
    finally:
        torch.set_num_threads(threads)
