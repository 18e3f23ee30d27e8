"""A plain shared bottom in PyTorch: one network, a head for each task."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

import features
from features import Vocabulary
from figures import auc
from plan import RunFile
from rows import Parts, Rows

DIM = 16
HIDDEN = (128, 64)
DROPOUT = 0.1
BATCH = 512
LEARNING_RATE = 1e-3
BUCKETS = 16
STEPS_PER_EVALUATION = 200
PATIENCE = 10
MAX_EPOCHS = 20
SCORED_AT_ONCE = 16_384


class Encoder:
    """Every column as ids: values of the training rows, or buckets of equal count of a number."""

    def __init__(self, run: RunFile, train: Rows):
        self.columns = run.columns
        self.vocabularies: dict[str, Vocabulary] = {}
        self.bounds: dict[str, np.ndarray] = {}
        for column in self.columns:
            values = train.columns[column.name]
            if column.kind == "numeric":
                shares = np.linspace(0, 1, BUCKETS + 1)[1:-1]
                self.bounds[column.name] = np.unique(np.nanquantile(values, shares))
            else:
                of = features.flat(values) if column.kind == "list" else values
                self.vocabularies[column.name] = Vocabulary.of(of)

    def sizes(self) -> list[int]:
        """Rows of each column's table."""
        numbers = {name: len(bounds) + 2 for name, bounds in self.bounds.items()}
        ids = {name: len(vocabulary) for name, vocabulary in self.vocabularies.items()}
        return [(numbers | ids)[column.name] for column in self.columns]

    def encode(self, part: Rows) -> "Encoded":
        """Ids of all rows: a matrix of single values, and each list as its ids and where they start."""
        singles, lists = [], []
        for column in self.columns:
            values = part.columns[column.name]
            if column.kind == "list":
                ids = self.vocabularies[column.name].encode(features.flat(values))
                starts = np.concatenate([[0], np.cumsum(features.lengths(values))])
                lists.append((torch.tensor(ids), torch.tensor(starts)))
            elif column.kind == "numeric":
                bucket = np.searchsorted(self.bounds[column.name], values, side="right") + 1
                singles.append(np.where(np.isnan(values), 0, bucket))
            else:
                singles.append(self.vocabularies[column.name].encode(values))
        matrix = np.stack(singles, axis=1) if singles else np.zeros((len(part), 0), dtype=np.int64)
        labels = np.stack(list(part.labels.values()), axis=1).astype(np.float32)
        return Encoded(torch.tensor(matrix), lists, torch.tensor(labels))


class Encoded:
    """Rows as ids, `singles` [rows, columns], and their labels [rows, tasks], NaN where unknown."""

    def __init__(self, singles, lists, labels):
        self.singles, self.lists, self.labels = singles, lists, labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, at: torch.Tensor) -> "Encoded":
        """Some rows."""
        return Encoded(self.singles[at], [chosen(*one, at) for one in self.lists], self.labels[at])


def chosen(ids: torch.Tensor, starts: torch.Tensor, at: torch.Tensor):
    """The lists of some rows: their ids and where each starts."""
    first, n_ids = starts[at], starts[at + 1] - starts[at]
    new_starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(n_ids, 0)])
    of_row = torch.repeat_interleave(first - new_starts[:-1], n_ids)
    return ids[of_row + torch.arange(int(new_starts[-1]))], new_starts


class SharedBottom(nn.Module):
    """Tables, hidden layers and heads. Heads start at the tasks' rates."""

    def __init__(self, encoder: Encoder, rates: list[float]):
        super().__init__()
        sizes = dict(zip((column.name for column in encoder.columns), encoder.sizes()))
        of_kind = lambda is_list: [c.name for c in encoder.columns if (c.kind == "list") == is_list]
        self.singles = nn.ModuleList(nn.Embedding(sizes[name], DIM) for name in of_kind(False))
        self.lists = nn.ModuleList(
            nn.EmbeddingBag(sizes[name], DIM, mode="mean", include_last_offset=True)
            for name in of_kind(True)
        )
        for table in [*self.singles, *self.lists]:
            nn.init.normal_(table.weight, std=0.05)
        widths = [DIM * len(encoder.columns), *HIDDEN]
        layers = []
        for width, next_width in zip(widths, widths[1:]):
            layers += [nn.Linear(width, next_width), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.layers = nn.Sequential(*layers)
        self.heads = nn.Linear(HIDDEN[-1], len(rates))
        with torch.no_grad():
            self.heads.bias.copy_(torch.logit(torch.tensor(rates)))

    def forward(self, rows: Encoded) -> torch.Tensor:
        """Logits [rows, tasks]."""
        vectors = [table(rows.singles[:, at]) for at, table in enumerate(self.singles)]
        vectors += [table(*one) for table, one in zip(self.lists, rows.lists)]
        return self.heads(self.layers(torch.cat(vectors, dim=1)))


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum over tasks of the mean cross-entropy over the rows that count."""
    known = ~torch.isnan(labels)
    each = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.nan_to_num(labels), reduction="none"
    )
    return ((each * known).sum(0) / known.sum(0).clamp(min=1)).sum()


def predict(run: RunFile, parts: Parts, seed: int) -> dict[str, np.ndarray]:
    """Probabilities of every task for the test rows, each task's at its best moment on validation."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    encoder = Encoder(run, parts.train)
    train, valid = encoder.encode(parts.train), encoder.encode(parts.valid)
    rates = [float(np.nanmean(labels)) for labels in parts.train.labels.values()]
    model = SharedBottom(encoder, rates)
    best = train_until_patience(model, train, valid)
    test = encoder.encode(parts.test)
    found = {}
    for at, task in enumerate(run.tasks):
        model.load_state_dict(best[at])
        found[task.name] = probabilities(model, test)[:, at]
    return found


def train_until_patience(model: SharedBottom, train: Encoded, valid: Encoded) -> list[dict]:
    """Trains until no task gets better on validation; the weights of each task's best moment."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    n_tasks = train.labels.shape[1]
    best_auc, best = [-1.0] * n_tasks, [copy.deepcopy(model.state_dict()) for _ in range(n_tasks)]
    step, since_best = 0, 0
    for _ in range(MAX_EPOCHS):
        for at in torch.randperm(len(train)).split(BATCH):
            rows = train.batch(at)
            optimizer.zero_grad(set_to_none=True)
            loss(model(rows), rows.labels).backward()
            optimizer.step()
            step += 1
            if step % STEPS_PER_EVALUATION == 0:
                since_best += 1
                scores = probabilities(model, valid)
                for task in range(n_tasks):
                    found = auc(valid.labels[:, task].numpy(), scores[:, task])
                    if found > best_auc[task]:
                        best_auc[task], since_best = found, 0
                        best[task] = copy.deepcopy(model.state_dict())
            if since_best >= PATIENCE:
                return best
    return best


@torch.no_grad()
def probabilities(model: SharedBottom, rows: Encoded) -> np.ndarray:
    """Probabilities [rows, tasks]."""
    model.eval()
    blocks = torch.arange(len(rows)).split(SCORED_AT_ONCE)
    found = [torch.sigmoid(model(rows.batch(at))) for at in blocks]
    model.train()
    return torch.cat(found).numpy()
