"""Somebody's own nn.Module: learned exactly as what it says, whatever rows are numbered anew; or refused by name."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models.base_models.embedding_mlp import EmbeddingMlp
from models.base_models.module import Module
from models.base_models.protocol import BaseModel
from models.item_categories import ItemCategories
from models.parameters import Parameters
from models.samples import Batch, Samples, shifted
from models.training import Snapshot, train
from models.update_methods.asmg import AsmgAveraged

SIZES = {"user": 21, "item": 16}
MINE = Module("own_modules:Mlp")
OURS = EmbeddingMlp()
NAMES = {"user.weight": "user", "item.weight": "item"}


def mine(ours: Parameters) -> Parameters:
    """The parameters of Embedding & MLP as the module calls them."""
    theirs = {name: table for table, name in NAMES.items()}
    return {theirs.get(name, name): tensor for name, tensor in ours.items()}


def samples(size: int = 300, seed: int = 0, lowest: int = 1) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    users, items = (torch.randint(lowest, rows, (size,), generator=draw) for rows in SIZES.values())
    lengths = torch.randint(0, 6, (size,), generator=draw)
    history = torch.randint(lowest, SIZES["item"], (int(lengths.sum()),), generator=draw)
    labels = ((users + items) % 3 == 0).float()
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    seen = torch.ones(size, dtype=torch.bool)
    return Samples(users, items, labels, history, offsets, seen, seen)


def one_batch(**options: int) -> Batch:
    found = samples(**options)
    return next(found.batches(len(found)))


def spread(ours: Parameters) -> Parameters:
    """Values that exercise every part of the gradient; cold rows off zero, as a generator makes them."""
    draw = torch.Generator().manual_seed(1)
    return {name: torch.randn(tensor.shape, generator=draw) * 0.5 for name, tensor in ours.items()}


def close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("name", ["Mlp", "Padded", "Bags"])
def test_a_module_written_as_embedding_and_mlp_is_embedding_and_mlp(name: str) -> None:
    base, ours = Module(f"own_modules:{name}"), spread(OURS.init(SIZES, 0, 0))
    batch = one_batch(lowest=0)
    logits, gradients = base.gradients(mine(ours), batch, 0.25)
    expected, by_hand = OURS.gradients(ours, batch, 0.25)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(base.logits(mine(ours), batch), expected, rtol=1e-5, atol=1e-5)
    close(gradients, mine(by_hand))


@pytest.mark.parametrize("name", ["Mlp", "Padded", "Bags"])
def test_it_learns_a_period_as_embedding_and_mlp_does(name: str) -> None:
    base = Module(f"own_modules:{name}")
    known = samples(40, seed=2)  # so that many rows are not looked up, and all have other numbers in training
    begun = Snapshot.start(OURS, SIZES, 0, 0)
    other = Snapshot.start(base, SIZES, 0, 0)
    other = Snapshot(mine(begun.parameters), other.moments, other.limits, 0)
    for _ in range(3):
        begun, other = train(begun, OURS, known, 0.01, 16), train(other, base, known, 0.01, 16)
    close(other.parameters, mine(begun.parameters), 1e-4)
    assert not other.parameters["item.weight"][0].any()


def test_a_generator_makes_the_same_of_it_as_of_embedding_and_mlp() -> None:
    method, periods = AsmgAveraged(), [samples(100, seed=n) for n in range(3)]

    def generated(base: BaseModel, begun: Snapshot) -> Parameters:
        window = [begun]
        for period in periods[:2]:
            window.append(train(window[-1], base, period, 0.01, 32))
        state = method.start(base, begun, periods[:1], 0)
        state = method.train(state, base, [one.parameters for one in window], periods, 0, 3)
        return method.candidate(state, base, None, [one.parameters for one in window])[1]

    ours = Snapshot.start(OURS, SIZES, 0, 0)
    theirs = Snapshot.start(MINE, SIZES, 0, 0)
    theirs = Snapshot(mine(ours.parameters), theirs.moments, theirs.limits, 0)
    found, expected = generated(MINE, theirs), generated(OURS, ours)
    assert (found["w1"] - theirs.parameters["w1"]).abs().max() > 1e-3
    close(found, mine(expected), 1e-4)


def test_gradients_are_those_of_float64() -> None:
    batch, p = one_batch(size=64), MINE.init(SIZES, 3, 0)
    wide = {name: tensor.double() for name, tensor in p.items()}
    _, found = MINE.gradients(p, batch)
    _, expected = MINE.gradients(wide, batch)
    close(found, {name: gradient.float() for name, gradient in expected.items()})
    step, slope = 1e-6, 0.0
    for name, gradient in expected.items():
        slope += float((gradient**2).sum())
        wide[name] = wide[name] + step * gradient
    before, after = (
        float(binary_cross_entropy_with_logits(MINE.logits(q, batch), batch.labels.double()))
        for q in ({name: tensor.double() for name, tensor in p.items()}, wide)
    )
    assert (after - before) / step == pytest.approx(slope, rel=1e-3)


def test_a_row_born_later_is_what_it_would_have_been_at_the_first() -> None:
    whole, limits = MINE.init({"user": 201, "item": 301}, 5, 2), MINE.limits({"user": 201, "item": 301})
    cut = {name: tensor[:20] if name in MINE.tables else tensor for name, tensor in whole.items()}
    by_steps = MINE.grown(cut, limits, {"user": 21, "item": 300}, 5, 2)
    by_steps = MINE.grown(by_steps, limits, {"user": 201, "item": 301}, 5, 2)
    assert all(torch.equal(by_steps[name], whole[name]) for name in whole)
    with pytest.raises(ValueError, match=r"item\.weight.*cannot shrink"):
        MINE.grown(whole, limits, {"user": 201, "item": 300}, 5, 2)


def test_rows_have_the_mean_and_deviation_of_the_modules_own_and_dense_parameters_are_its_own() -> None:
    p = MINE.init({"user": 4001, "item": 2001}, 0, 0)
    for table in MINE.tables:
        assert not p[table][0].any()
        assert abs(float(p[table].mean())) < 0.05
        assert float(p[table][1:].std()) == pytest.approx(1.0, rel=0.05)  # nn.Embedding's
    assert all(1.5 < limit < 2 for limit in MINE.limits({"user": 2, "item": 1}).values())
    assert float(p["w1"].std()) == pytest.approx(0.3, rel=0.2)
    assert not p["b1"].any()


def test_seed_and_initialisation_decide_every_value_and_nothing_global_is_changed() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    module = Module("own_modules:Mlp", {"width": 5})
    first, again = module.init(SIZES, 3, 0), module.init(SIZES, 3, 0)
    module.gradients(first, one_batch())
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (module.init(SIZES, 4, 0), module.init(SIZES, 3, 1)):
        assert all(not torch.equal(first[name], other[name]) for name in ("user.weight", "item.weight", "w1", "w3"))
    larger = module.init({"user": 90, "item": 80}, 3, 0)
    assert torch.equal(larger["w1"], first["w1"])


def test_a_module_without_users_with_a_constant_and_an_upper_case_name_is_learned() -> None:
    base = Module("own_modules:OnlyItems")
    assert base.tables == {"items.weight": "item"}
    begun = Snapshot.start(base, SIZES, 0, 0)
    learned = train(begun, base, samples(), 0.01, 32)
    assert not torch.equal(learned.parameters["W"], begun.parameters["W"])
    assert set(learned.parameters) == {"items.weight", "W"}


def test_a_module_with_categories_is_the_one_without_and_a_number_for_each() -> None:
    base, sizes = Module("own_modules:WithCategories"), {**SIZES, "category": 6}
    assert base.tables == {**MINE.tables, "category.weight": "category"}
    p = spread(base.init(sizes, 0, 0))
    plain = {name: tensor for name, tensor in p.items() if name != "category.weight"}
    lengths = np.arange(SIZES["item"]) % 4
    known = ItemCategories(
        np.arange(lengths.sum(), dtype=np.int32) % 6, np.concatenate([[0], np.cumsum(lengths)]), np.zeros(16, np.int64)
    )
    found = samples(50, lowest=0).with_categories(known)
    (batch,) = found.batches(50)
    number = p["category.weight"][:, 0].tolist()
    of_item = [sum(number[row] for row in known.rows[a:b]) for a, b in pairwise(known.offsets.tolist())]
    extra = [of_item[item] for item in found.items.tolist()]
    for n, (low, high) in enumerate(pairwise(found.offsets.tolist())):
        extra[n] += sum(of_item[item] for item in found.history[low:high].tolist()) / 2
    expected = MINE.logits(plain, batch) + torch.tensor(extra)
    torch.testing.assert_close(base.logits(p, batch), expected, rtol=1e-5, atol=1e-5)
    learned = train(
        Snapshot.start(base, sizes, 0, 0), base, samples(50).with_categories(known_rows_only(known)), 0.01, 8
    )
    assert not learned.parameters["category.weight"][0].any()


def known_rows_only(known: ItemCategories) -> ItemCategories:
    """The same without the cold row, which nothing is trained on."""
    return ItemCategories(np.maximum(known.rows, 1), known.offsets, known.times)


def test_with_its_parameters_in_place_it_answers_as_in_training() -> None:
    batch = one_batch(lowest=0)
    for name in ("Mlp", "Padded", "Bags", "OnlyItems"):
        base = Module(f"own_modules:{name}")
        p = spread(base.init(SIZES, 0, 0))
        assert torch.equal(base.with_parameters(p)(shifted(batch)), base.logits(p, batch)), name
    with pytest.raises(ValueError, match=r"item.weight is \[rows, 8\], in the module it is \[rows, 5\]"):
        Module("own_modules:Mlp", {"width": 5}).with_parameters({**MINE.init(SIZES, 0, 0)})


def test_it_goes_to_another_process_as_its_name_and_settings() -> None:
    module = Module("own_modules:Unpicklable", {"width": 5})
    there = pickle.loads(pickle.dumps(module))
    assert there == module
    assert torch.equal(there.init(SIZES, 0, 0)["w1"], module.init(SIZES, 0, 0)["w1"])


REFUSED = {
    "BatchNorm": r"norm is a BatchNorm1d.*LayerNorm",
    "Dropout": r"drop \(Dropout\) drops out at 0.1.*set it to 0",
    "RecurrentDropout": r"gru \(GRU\) drops out at 0.2",
    "FunctionalDropout": "in training mode",
    "Random": "may not draw random numbers",
    "MaxNorm": r"item has max_norm=1.0: it renormalises.*leave max_norm out",
    "Sparse": "item has sparse=True",
    "ByFrequency": "item has scale_grad_by_freq=True",
    "PaddingAtTheEnd": "item has padding_idx=36.*padding_idx=0",
    "TiedOutput": r"the table item.weight is tied to every \(Linear\)",
    "RowsOfLinear": "parameter bias grows with the number of ids",
    "OneRowMore": r"parameter item.weight grows.*exactly as many rows as one of users, items",
    "UsersAndItemsInOne": r"parameter both.weight grows",
    "Double": r"parameter w1 is torch.float64.*float32",
    "Frozen": r"parameter w3 is frozen.*register_buffer",
    "OddName": "parameter 'größe'.*ASCII",
    "Running": "forward changes the buffer seen",
    "RandomBuffer": "buffer projection depends on the seed",
    "OtherRandomness": r"parameter w3 begins differently each time.*torch's own generator",
    "BeginsAtOne": r"rows of item.weight begin around 1.*around 0",
    "TwoColumns": r"forward gives torch.float32\[6, 1\] for 6 samples.*float32\[6\]",
    "Leaves": r"Leaves\(.*\) fails \(SystemExit: 5\)",
    "Fails": "forward fails on a few samples.*no forward today.*it gets one argument, a models.samples.Batch",
    "NeedsAHistory": "forward fails on a few samples, or on one of them alone .*IndexError",
    "NotFinite": "not finite",
    "Labels": "forward looks at the labels",
    "Neighbours": "another logit beside other samples",
    "RowNumbers": "rows have other numbers",
    "WholeTable": "rows have other numbers",
    "NoProbability": "score gives no probabilities",
    "NoSizes": "names none of users, items, categories",
    "NoTables": "its constructor takes users, but no nn.Embedding has as many rows",
    "NoTableOfUsers": "its constructor takes users, but no nn.Embedding has as many rows",
    "NoModule": "is no torch.nn.Module",
    "Nothing": "own_modules has no Nothing",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_not_be_learned_exactly_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[name]) as caught:
        Module(f"own_modules:{name}")
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_settings_that_the_constructor_does_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match="widht"):
        Module("own_modules:Mlp", {"widht": 4})
    Module("own_modules:Dropout", {"rate": 0.0})
