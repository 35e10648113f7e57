"""From the batches of an update to its gradient, and to the lines that spoiled it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.loop.batching import Example, PlannedBatch, Update
from training.loop.loss import Batch, Layout, collate, logits_at_predicted, smoothed_loss
from training.loop.processes import Processes
from training.recipe import Recipe


class Gradients:
    """Computes the gradients of updates, alone or with other processes.

    The loss of an update is the mean over all its target tokens: an update of several batches has
    the gradient of one batch that holds all their lines. Batches are therefore weighted by their
    target tokens, and not one like the other.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        examples: Sequence[Example],
        recipe: Recipe,
        *,
        layout: Layout,
        processes: Processes,
        device: str,
    ) -> None:
        """Take what stays the same from update to update."""
        self._model = model
        self._parameters = tuple(parameters.values())
        self._examples = examples
        self._recipe = recipe
        self._layout = layout
        self._processes = processes
        self._device = device

    def compute(self, update: Update) -> float:
        """Leave the update's gradient in the parameters; return its loss per target token.

        Gradient and loss are the same in every process.
        """
        for parameter in self._parameters:
            parameter.grad = None
        targets = sum(self._targets(batch) for batch in update.batches)
        losses = [self._backward(batch, targets) for batch in self._own(update)]
        loss = torch.stack(losses).sum()
        made = [p.grad for p in self._parameters if p.grad is not None]
        self._processes.add([*made, loss])
        return float(loss)

    def tokens(self, update: Update) -> int:
        """Return an update's source and target tokens without padding."""
        return sum(
            sum(self._examples[index].lengths)
            for batch in update.batches
            for index in batch.indices
        )

    def lines_not_finite(self, update: Update) -> list[int]:
        """Return the corpus lines whose own loss is not finite; all of the update's if none is.

        None is where the loss is finite and its gradient is not.
        """
        found = [line for batch in update.batches for line in self._not_finite(batch)]
        return found or [
            self._examples[index].line for batch in update.batches for index in batch.indices
        ]

    def _own(self, update: Update) -> Sequence[PlannedBatch]:
        return update.batches[self._processes.rank :: self._processes.size]

    def _targets(self, batch: PlannedBatch) -> int:
        return sum(len(self._examples[i].target) - self._layout.forced for i in batch.indices)

    def _backward(self, batch: PlannedBatch, targets: int) -> Tensor:
        """Add one batch's share of the gradient; return its share of the loss."""
        collated = self._collated(batch)
        share = collated.labels.numel() / targets
        loss = smoothed_loss(self._model, collated, self._recipe.label_smoothing) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _collated(self, batch: PlannedBatch) -> Batch:
        """Return a batch's tensors, and draw its dropout anew from here on."""
        torch.manual_seed(batch.seed(self._recipe.seed))
        return collate([self._examples[i] for i in batch.indices], self._layout, self._device)

    @torch.no_grad()
    def _not_finite(self, batch: PlannedBatch) -> list[int]:
        collated = self._collated(batch)
        logits = logits_at_predicted(self._model, collated)
        losses = functional.cross_entropy(logits, collated.labels, reduction="none")
        rows = collated.predicted.nonzero()[:, 0]
        bad = set(rows[~losses.isfinite()].tolist())
        return [self._examples[batch.indices[row]].line for row in sorted(bad)]
