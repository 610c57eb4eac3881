"""What the engine can do beside the plain step: parts, processes, early stopping, number formats."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tasks.core.augment import Noise
from tasks.core.precision import device_of, helps, mixed
from tasks.core.predict import predict
from tasks.core.team import Team
from tasks.core.train import Validation, train
from tests.conftest import ROOT
from tests.core.small_training import EXAMPLES, NOISE, PARTS, PSEUDO, RECIPE, VALIDATION, examples, net

CLEAN = Noise(0, 0.0, 0, False, 0)


def test_without_its_new_powers_the_loop_is_what_it_was() -> None:
    """The losses of nine steps, as the loop before parts, processes and early stopping logged them."""
    rows: list[dict[str, float]] = []
    train(net(), EXAMPLES, PSEUDO, RECIPE, NOISE, 3, log=rows.append, log_every=1)
    golden = [float(line) for line in (Path(__file__).parent / "golden_losses.txt").read_text().split()]
    assert [row["loss"] for row in rows] == pytest.approx(golden, rel=1e-4)


def test_parts_add_up_to_the_whole_step() -> None:
    """A net without batch norm, without noise: one pass of 18 images or three of 6 end with the same weights."""
    nets = [
        train(net("lenet5", 0.0), EXAMPLES, PSEUDO, replace(RECIPE, accumulate=n), CLEAN, 3).state_dict()
        for n in (1, 3)
    ]
    for name, value in nets[0].items():
        torch.testing.assert_close(nets[1][name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_batch_norm_sees_parts_and_keeps_their_mean() -> None:
    """Statistics after a step are one update by the mean over the parts, not two updates, one after the other."""
    norm, team = nn.BatchNorm1d(2, momentum=0.25), Team(2)
    part_KBC = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    with team.statistics(norm):
        for part in team.mine:
            with team.apart(norm):
                norm(part_KBC[part])
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, 0.25 * part_KBC.mean(dim=(0, 1)))
    torch.testing.assert_close(norm.running_var, 0.75 + 0.25 * part_KBC.var(dim=1).mean(dim=0))


def test_two_processes_are_one(tmp_path: Path) -> None:
    """torchrun with two processes on gloo ends with the net of one process, within 1e-5: noise, dropout, stochastic
    depth, batch norm and early stopping included. Both end with the same bits, and the first one alone logs."""
    alone = train(net(), EXAMPLES, PSEUDO, PARTS, NOISE, 3, validation=VALIDATION).state_dict()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.core.two_processes", str(tmp_path / "net")],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"net.{rank}") for rank in (0, 1))
    assert (len(first.pop("logged")), len(second.pop("logged"))) == (6, 0)
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, atol=1e-5, rtol=0, msg=name)
        assert torch.equal(first[name], second[name]), name


def test_training_ends_when_more_steps_do_not_help() -> None:
    """Labels of no meaning: `patience` looks after the best one it is over, and the net is the best one's."""
    puzzle = examples(8)
    wrong = Validation(puzzle.image_NCHW, puzzle.target_NC.flip(1), every=2, patience=2)  # the better, the worse
    rows: list[dict[str, float]] = []
    recipe = replace(RECIPE, steps=60)
    trained = train(net(), puzzle, None, recipe, CLEAN, 0, validation=wrong, log=rows.append, log_every=100)
    seen = [row["loss_validation"] for row in rows]
    best = seen.index(min(seen))
    assert (len(rows), rows[-1]["step"]) == (best + 3, 2 * (best + 3))
    assert rows[-1]["step"] < 60
    prob_NC = predict(trained, wrong.image_NCHW, 8)
    assert -(wrong.target_NC * prob_NC.log()).sum(dim=1).mean().item() == pytest.approx(min(seen), rel=1e-4)


def test_bfloat16_learns_with_float32_weights() -> None:
    """The forward pass is rounded, the net is not: weights float32, close to float32's but not they. `auto` takes it
    only where the hardware has it."""
    recipe = replace(RECIPE, steps=3)
    plain, rounded, auto = (
        train(net(), EXAMPLES, PSEUDO, replace(recipe, precision=p), NOISE, 3).state_dict()
        for p in ("float32", "bfloat16", "auto")
    )
    assert all(value.dtype == plain[name].dtype for name, value in rounded.items())
    assert not torch.equal(plain["head.weight"], rounded["head.weight"])
    torch.testing.assert_close(plain["head.weight"], rounded["head.weight"], atol=0.02, rtol=0)
    assert torch.equal(auto["head.weight"], (rounded if helps(torch.device("cpu")) else plain)["head.weight"])
    assert mixed("auto", torch.device("cpu"))._enabled == helps(torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named() -> None:
    """`cuda` is refused with the setting to change; `auto` goes on without."""
    assert device_of("auto").type == "cpu"
    with pytest.raises(ValueError, match=r"train.device is cuda, and torch finds no GPU"):
        device_of("cuda")
