"""Tests of the network in PyTorch; left out where PyTorch is not installed."""

from __future__ import annotations

import importlib.util
import unittest

HAS_TORCH = importlib.util.find_spec("torch") is not None


@unittest.skipUnless(HAS_TORCH, "needs PyTorch")
class Network(unittest.TestCase):
    def test_bags_are_single_ids_and_means_of_lists(self) -> None:
        import network
        import torch
        import workload

        size = workload.Size(batch=20, table_rows=100)
        table, batches = network.Table(100), network.Batches(size)
        vectors = table(batches.ids[0], batches.offsets)
        single, lists = workload.batch_ids(size, 0)
        weight = table.bag.weight
        expected = torch.cat([weight[single], weight[lists].mean(dim=2)], dim=1)
        torch.testing.assert_close(vectors, expected)
        self.assertEqual(network.interaction(vectors).shape, (20, workload.N_INPUTS))

    def test_only_clicked_rows_are_a_tenth(self) -> None:
        import network
        import workload

        batches = network.Batches(workload.Size(batch=40, table_rows=100), only_clicked=True)
        self.assertEqual(batches.n_chosen, 4)
        self.assertEqual(len(batches.conversion_labels), 4)
        self.assertEqual(len(batches.ids[0]), 4 * (15 + 5 * 6))

    def test_rounds_of_pruning_end_at_the_density(self) -> None:
        import network
        import workload

        layers = network.Layers(workload.Size())
        mask = layers.masks[0]
        for _ in range(5):
            mask = network.prune_smallest(layers.hidden, mask, 1 - 0.2 ** (1 / 5))
        kept = sum(float(one.sum()) for one in mask)
        self.assertAlmostEqual(kept / sum(one.numel() for one in mask), 0.2, places=4)
        self.assertAlmostEqual(workload.level_densities(0.2, 5)[-1], 0.2)

    def test_focal_loss_without_focus_is_half_the_cross_entropy(self) -> None:
        import network
        import torch
        import torch.nn.functional as F

        logits, labels = torch.tensor([[0.3], [-1.0]]), torch.tensor([[1.0], [0.0]])
        entropy = F.binary_cross_entropy_with_logits(logits, labels)
        torch.testing.assert_close(network.focal(logits, labels, 0.5, 0.0), entropy / 2)

    def test_all_ways_to_write_a_step_have_one_loss_and_one_gradient(self) -> None:
        import network
        import plan
        import torch
        import variants
        import workload

        size = workload.Size(batch=40, table_rows=100)
        layers, table, batches = network.Layers(size), network.Table(100), network.Batches(size)
        layers.masks = [network.random_mask(layers.hidden, 0.2) for _ in network.TASKS]
        vectors = table(batches.ids[0], batches.offsets).detach() * 30
        self.assertEqual(tuple(variants.VARIANTS), plan.VARIANTS)

        def run(variant: str) -> list[torch.Tensor]:
            x = vectors.clone().requires_grad_()
            layers.zero_grad(set_to_none=True)
            loss = variants.loss(variant, layers, batches)(x)
            loss.backward()
            return [loss.detach(), x.grad, *(p.grad for p in layers.hidden.parameters())]

        eager = run("eager")
        for variant, rtol, atol in [("torch.sparse", 1e-4, 1e-6), ("bf16", 0.1, 2e-3)]:
            for found, expected in zip(run(variant), eager, strict=True):
                torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)

    def test_the_user_is_the_same_for_every_candidate(self) -> None:
        import workload

        single, lists = workload.request_ids(7, 1000)
        self.assertTrue((lists == lists[0]).all())
        self.assertTrue((single[:, : workload.N_USER_SINGLE] == single[0, :5]).all())
        self.assertFalse((single[:, 5:] == single[0, 5:]).all())


if __name__ == "__main__":
    unittest.main()
