"""The settings of the learning, and the machine class that its bytes depend on."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from models.base_models import AnyBaseModel
from models.base_models.category_embedding_mlp import CategoryEmbeddingMlp
from models.base_models.embedding_mlp import EmbeddingMlp
from models.base_models.protocol import BaseModel
from models.selection import AUTO, Auto
from models.update_methods import AnyUpdateMethod
from models.update_methods.asmg import Asmg
from models.update_methods.iu import Iu
from models.update_methods.protocol import UpdateMethod
from models.update_methods.row_statistics import RowStatistics


@dataclass(frozen=True)
class LearningSettings:
    """What decides the numbers of a run (algorithms.md); all of it is fixed in the state directory.

    methods: candidates kept warm, each scored on every period; serve: the one whose candidate is published, or "auto",
    the one whose recent log loss is lowest; selection: how auto does that. pretrain: periods that pretraining
    consumes; the last of them only chooses pass and initialisation, and is then trained on once. negatives: drawn per
    positive (0 for explicit labels). histories: whether versions carry their users' histories. threads: of the learner
    process; like `device`, part of the machine class.
    """

    seed: int = 0
    methods: tuple[AnyUpdateMethod | UpdateMethod[Any], ...] = (Iu(), RowStatistics())
    serve: str = AUTO
    selection: Auto = field(default_factory=Auto)
    base_model: AnyBaseModel | BaseModel = field(default_factory=EmbeddingMlp)
    pretrain: int = 10
    passes: int = 10
    initialisations: int = 3
    negatives: int = 0
    histories: bool = False
    learning_rate: float = 3e-3
    batch: int = 256
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        names = [method.method for method in self.methods]
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"methods must name each method once, got {names}; compare variants of one in runs of their own"
            )
        if AUTO in names:
            raise ValueError(f"{AUTO} selects among methods and is none itself: name it in serve")
        if self.serve not in (AUTO, *names):
            raise ValueError(f"serve must be {AUTO} or one of the methods {names}, got {self.serve!r}")
        if strangers := sorted(set(self.selection.candidates) - set(names)):
            raise ValueError(f"selection.candidates must be among the methods {names}, got {strangers}")
        floors = {"pretrain": 2, "passes": 1, "initialisations": 1, "negatives": 0, "batch": 1, "threads": 1, "seed": 0}
        for name, least in floors.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")

    def suited(self, categories: bool) -> LearningSettings:
        """These settings for a stream whose interactions have categories, or have none: what the learner works with.

        Embedding & MLP then has a table for them, and its hidden layers are written out. Other models stay, classes
        derived from it too.
        """
        base = self.base_model
        if type(base) is not EmbeddingMlp:
            return self
        model = CategoryEmbeddingMlp if categories else EmbeddingMlp
        return replace(self, base_model=model(width=base.width, hidden=model(hidden=base.hidden).layers))

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of the methods among which `auto` selects."""
        return self.selection.candidates or tuple(method.method for method in self.methods)

    @property
    def window(self) -> int:
        """How many snapshots, and target periods, the longest method looks at."""
        return max((method.window for method in self.methods), default=1)


def paper(settings: LearningSettings) -> LearningSettings:
    """Preset `paper`: what Peng et al. (RecSys 2021) report: Adam 1e-3, passes over periods 1-10, chosen on period 11.

    The number of initialisations is not stated there: one.
    """
    return replace(
        settings,
        methods=(Iu(), Asmg()),
        serve="asmg",
        pretrain=11,
        passes=10,
        initialisations=1,
        learning_rate=1e-3,
    )


def device_of(settings: LearningSettings) -> torch.device:
    """The device that `device` names; "auto" is CUDA where there is one. Raises ValueError for CUDA without one."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch sees no CUDA device")
    cuda = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def machine_class(settings: LearningSettings) -> dict[str, str]:
    """What the last bits of the arithmetic depend on (promise 2): same class, same settings, same bytes."""
    device = device_of(settings)
    return {
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "architecture": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": str(settings.threads),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def prepare_process(settings: LearningSettings) -> None:
    """Call once in a process before it learns: thread count, denormals, deterministic kernels.

    Denormals: an idle row's first moment decays below 1e-38 and never rounds to zero; unflushed, that makes dense
    Adam several times slower as the stream ages. They are flushed so that speed and bytes do not depend on age.
    """
    torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    if device_of(settings).type == "cuda":
        torch.use_deterministic_algorithms(True)
