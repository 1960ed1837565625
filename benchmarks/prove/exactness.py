"""Single steps against the plain autograd baseline, in numbers; `ASMG_REFERENCE` names its file.

The laws behind it (a GRU step equals a scalar loop over the paper's equations, every gradient equals float64 autograd,
metrics equal scikit-learn's) are tests; they are run here too, and counted.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from models.base_models.embedding_mlp import EmbeddingMlp
from models.meta_generators.generation import generate, zero_state
from models.meta_generators.sheets import MLP, columns_of, grus, initial_weights, mlp_names
from models.parameters import ITEM, USER, Parameters
from models.randomness import rng
from models.samples import Batch

ROOT = Path(__file__).parents[2]
LAWS = ("tests/models/test_gru.py", "tests/models/test_generator.py", "tests/models/test_embedding_mlp.py")
METRICS = ("tests/models/test_metrics.py", "tests/models/test_training.py", "tests/models/test_adam.py")
USERS, ITEMS, SAMPLES, LENGTH = 300, 200, 256, 30
SIZES = {USER: USERS, ITEM: ITEMS}
TABLES = EmbeddingMlp().tables


def run() -> dict[str, Any]:
    """Largest relative differences of one base gradient and of one generated model, and how many laws passed."""
    torch.set_num_threads(1)
    reference = load_reference()
    base, generated = base_gradient(reference), generation(reference)
    passed = laws()
    return {
        "base_gradient_relative_difference": base,
        "generated_model_largest_difference": generated,
        "tests_passed": passed,
        "bounds": {
            "base gradient within 1e-5 of the baseline's autograd (float64)": base <= 1e-5,
            "generated parameters within 1e-6 of the baseline's": generated <= 1e-6,
            "all laws of gradients, GRU and metrics passed": passed > 0,
        },
    }


def load_reference() -> ModuleType:
    """The baseline as a module. Raises SystemExit with the remedy when it is not named."""
    path = os.environ.get("ASMG_REFERENCE")
    if not path or not Path(path).is_file():
        raise SystemExit("set ASMG_REFERENCE to the file of the plain autograd baseline (asmg_reference.py)")
    specification = importlib.util.spec_from_file_location("reference", path)
    assert specification is not None
    assert specification.loader is not None
    # It reads recordings with pandas, which we do not install; only its arithmetic is wanted here.
    sys.modules.setdefault("pandas", ModuleType("pandas"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def base_gradient(reference: ModuleType) -> float:
    """Our float32 gradient of one batch against float64 autograd through the baseline's forward pass."""
    model = EmbeddingMlp()
    parameters = {name: 10 * tensor for name, tensor in model.init(SIZES, 0, 0).items()}
    batch, padded = random_batch()
    _, ours = model.gradients(parameters, batch)
    doubles = {name: tensor.double().requires_grad_() for name, tensor in parameters.items()}
    logits = reference.forward(doubles, padded)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, padded["y"].double()).backward()
    differences = [_relative(ours[name], doubles[name].grad) for name in parameters]
    return max(differences)


def generation(reference: ModuleType) -> float:
    """Our Θ* of a window of three snapshots against the baseline's, from the same GRU weights."""
    model = EmbeddingMlp()
    window = [model.init(SIZES, seed, 0) for seed in range(3)]
    weights = initial_weights(window[0], model.tables, 4, False, rng(0, 0, "exactness"))
    _, ours = generate(weights, zero_state(window[0], model.tables, 4), None, window, model.tables, False)
    plain = reference.Generator(window[0])
    plain.w = plain_weights(weights, window[0])
    outputs, _ = plain.run(window, plain.zeros(window[0]), None)
    return max(float((ours[name] - outputs[-1][name]).abs().max()) for name in ours)


def plain_weights(weights: Tensor, like: Parameters) -> dict[str, Tensor]:
    """Our flat ω under the baseline's names: one GRU per table column, one per scalar of each MLP tensor."""
    named = {}
    views = grus(weights, columns_of(like, TABLES), 4)
    first = 0
    for tensor in (*TABLES, *mlp_names(like, TABLES)):
        table = tensor in TABLES
        count = like[tensor].shape[1] if table else like[tensor].numel()
        own = slice(0, count) if table else slice(first, first + count)
        first += 0 if table else count
        gru = views[tensor if table else MLP]
        gates, candidate = gru.gates[own], gru.candidate[own]
        for name, part in (("z", gates[:, :4]), ("r", gates[:, 4:]), ("g", candidate)):
            named[f"{tensor}.u{name}"] = part[:, :, :1].transpose(1, 2)
            named[f"{tensor}.w{name}"] = part[:, :, 1:].transpose(1, 2)
        named[f"{tensor}.wy"] = gru.output[own].transpose(1, 2)
        named[f"{tensor}.by"] = gru.bias[own]
    return named


def random_batch() -> tuple[Batch, dict[str, Tensor]]:
    """The same samples as ours (ragged) and as the baseline's (padded)."""
    draw = rng(1, 0, "exactness")
    users, items = (torch.from_numpy(draw.integers(1, rows, SAMPLES)) for rows in (USERS, ITEMS))
    labels = torch.from_numpy(draw.integers(0, 2, SAMPLES)).float()
    lengths = torch.from_numpy(draw.integers(0, LENGTH + 1, SAMPLES))
    padded = torch.from_numpy(draw.integers(1, ITEMS, (SAMPLES, LENGTH)))
    history = padded[torch.arange(LENGTH)[None] < lengths[:, None]]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    rows = {"u": users, "i": items, "h": padded, "l": lengths, "y": labels}
    return Batch(users, items, labels, history, offsets), rows


def laws() -> int:
    """Runs the tests of gradients, GRU and metrics; how many passed, 0 when one failed."""
    done = subprocess.run([sys.executable, "-m", "pytest", *LAWS, *METRICS], cwd=ROOT, capture_output=True, text=True)
    found = re.search(r"(\d+) passed", done.stdout)
    return int(found.group(1)) if found and done.returncode == 0 else 0


def _relative(ours: Tensor, exact: Tensor | None) -> float:
    assert exact is not None
    return float((ours - exact).abs().max() / exact.abs().max())
