"""k-NN on features, against scikit-learn."""

import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from tasks.core.neighbours import KS, choose


def _blobs(n: int, seed: int, spread: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    gen = torch.Generator().manual_seed(seed)
    label_N = torch.arange(n) % 3
    return torch.eye(3, 5)[label_N] * 2 + spread * torch.randn(n, 5, generator=gen), label_N


@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_it_is_scikit_learns_classifier_with_k_chosen_by_leaving_one_out(spread: float) -> None:
    """The same k as the best of leave-one-out runs, and the same class for every test image."""
    feature_ND, label_N = _blobs(40, 0, spread)
    found = choose(feature_ND, label_N, 3)
    assert found is not None
    right = {}
    for k in (k for k in KS if k < 40):
        peer = KNeighborsClassifier(k, metric="cosine")
        said = cross_val_predict(peer, feature_ND.numpy(), label_N.numpy(), cv=LeaveOneOut())
        right[k] = (said == label_N.numpy()).mean()
    assert found.left_out == pytest.approx(max(right.values()))
    assert found.k == min(k for k, share in right.items() if share == max(right.values()))
    test_MD, _ = _blobs(200, 1, spread)
    peer = KNeighborsClassifier(found.k, metric="cosine").fit(feature_ND.numpy(), label_N.numpy())
    assert found.classify(test_MD).tolist() == peer.predict(test_MD.numpy()).tolist()


def test_more_rows_than_fit_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours are searched some rows at a time; an image is never its own neighbour in any of them."""
    feature_ND, label_N = _blobs(50, 2)
    whole = choose(feature_ND, label_N, 3)
    monkeypatch.setattr("tasks.core.neighbours.ROWS", 7)
    parts = choose(feature_ND, label_N, 3)
    assert whole is not None
    assert parts is not None
    assert (whole.k, whole.left_out) == (parts.k, parts.left_out)
    assert torch.equal(whole.classify(feature_ND), parts.classify(feature_ND))


def test_one_labeled_image_is_no_reference() -> None:
    """Leaving it out leaves nothing; two are enough."""
    feature_ND, label_N = _blobs(2, 3)
    assert choose(feature_ND[:1], label_N[:1], 3) is None
    assert choose(feature_ND, label_N, 3) is not None
