"""Planted bugs, and whether the tests catch them: ``python tests/mutants.py [part of a name ...]``.

Each bug is planted in a copy of the tree, and the tests that ought to catch it run there; a bug that no test catches
is a test that is missing. Exits with 1 on a miss, or when the text a bug replaces is no longer there.
"""
# ruff: noqa: E501 (a table: one line a bug)

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Mutant(NamedTuple):
    """A bug: in a file of the source, old text (once) becomes new text; and pytest's arguments."""

    file: str
    old: str
    new: str
    tests: str


def contract(keyword: str, file: str = "test_contract.py") -> str:
    """The contract tests that hold this keyword."""
    return f"tests/{file} -k '{keyword}'"


MUTANTS = [
    # rows
    Mutant("rows/base.py", "f(x.double(), None if c is None else c.double())", "f(x, c)", "tests/test_rows.py"),
    Mutant("rows/base.py", "return -ends[0], ends[1]", "return ends[0], ends[1]", "tests/test_rows.py"),
    Mutant("rows/base.py", "np.sort(chosen) - self._offset()", "np.sort(chosen)", "tests/test_ranks.py"),
    Mutant("rows/base.py", "default_rng(seed)", "default_rng(0)", "tests/test_rows.py"),
    Mutant("rows/base.py", "(x - mean).T @ (x - mean),))[0] / self.n", "x.T @ x,))[0] / self.n", "tests/test_rows.py"),
    Mutant("rows/ranks.py", "sum(counts[: dist.get_rank()])", "0", "tests/test_ranks.py"),
    Mutant("rows/ranks.py", "dist.all_reduce(total, dist.ReduceOp.MAX)", "pass", "tests/test_ranks.py"),
    Mutant("rows/_chunk.py", "np.uint64(seed + 1) *", "np.uint64(1) *", "tests/test_rows.py"),
    Mutant("rows/_chunk.py", "not bool(torch.isfinite(x).all())", "False", "tests/test_rows.py"),
    Mutant("rows/_chunks.py", "            start = offset\n", "            start = 0\n", "tests/test_ranks.py"),
    Mutant("rows/_chunks.py", "super(ChunkRows, self._but(_transforms=()))", "super()", "tests/test_rows.py"),
    Mutant("rows/_chunks.py", "if count != self.n:", "if False:", "tests/test_rows.py"),
    Mutant("rows/_chunks.py", "or size > KEEP_BYTES", "or True", "tests/test_rows.py"),
    # recipes
    Mutant("recipes/rbig.py", "index == 1 and whiten", "False", "tests/test_rbig.py"),
    # transforms: the frame
    Mutant("transforms/_steady.py", "x if owned else torch.empty_like(x)", "x", "tests/test_steady.py"),
    Mutant("transforms/_steady.py", "return ready <= min(forward, inverse)", "return True", "tests/test_steady.py"),
    Mutant("transforms/_splines.py", "return z, log_slopes.sub_(ladj)", "return z, log_slopes", "tests/test_steady.py"),
    Mutant("transforms/mixture_transport.py", "y[:, c:], diagonals[:, c:, None], weights[:, c:]", "y[:, c:], diagonals[:, c:, None], weights[:, :1]", "tests/test_mixture_transport.py"),
    Mutant("transforms/mixture_transport.py", "terms[:, :-1].cumsum(1)", "terms[:, 1:].cumsum(1)", "tests/test_mixture_transport.py"),
    Mutant("transforms/mixture_transport.py", "uniform * levels[:, -1:]", "uniform * 0", "tests/test_mixture_transport.py"),
    Mutant("transforms/mixture_transport.py", "inside = u.clamp(self.low, self.high)", "inside = u", "tests/test_mixture_transport.py"),
    Mutant("transforms/mixture_transport.py", "logits, means, factors = mixture.log_weights - shared", "logits, means, factors = mixture.log_weights", "tests/test_mixture_transport.py"),
    Mutant("transforms/_normal_mixture.py", "torch.where(i == j, 0.5, 1.0)", "torch.where(i == j, 1.0, 1.0)", "tests/test_mixture_transport.py"),
    Mutant("transforms/_normal_mixture.py", "return total - first.log_density(u[:, :given])", "return total", "tests/test_mixture_transport.py"),
    Mutant("transforms/_normal_mixture.py", "within[None] if components == 1 else (scatter", "(scatter", "tests/test_mixture_transport.py -k single_component"),
    Mutant("transforms/_mixture_growth.py", "if size > 1 and not _surely(score - growth.score(1)):", "if False:", "tests/test_mixture_transport.py"),
    Mutant("transforms/_mixture_growth.py", "if _surely(score - plain) else standard", "if True else standard", "tests/test_mixture_transport.py"),
    Mutant("transforms/_mixture_growth.py", "[log_weight - math.log(len(each))]", "[log_weight]", "tests/test_mixture_transport.py"),
    Mutant("ops/_components.py", "| (density < info.tiny / info.eps)", "", "tests/test_mixture_transport.py"),
    Mutant("transforms/_subspaces.py", "(gradient - gradient.T)", "(gradient.T - gradient)", "tests/test_subspaces.py -k turn"),
    Mutant("transforms/_subspaces.py", "correlation.square() - 1 / len(y)", "correlation.square()", "tests/test_subspaces.py -k tell"),
    Mutant("transforms/_subspaces.py", " * self.apart", "", "tests/test_subspaces.py -k within"),
    Mutant("transforms/radial_spline.py", "slopes[-1].clamp(max=1.0)", "slopes[-1]", "tests/test_radial_spline.py -k linear"),
    Mutant("transforms/radial_spline.py", "if gain > LEAST_GAIN:", "if True:", "tests/test_radial_spline.py -k alone"),
    Mutant("transforms/radial_spline.py", "square.log() + math.log(2)", "math.log(2)", "tests/test_radial_spline.py -k ball"),
    Mutant("recipes/_kinds.py", "if sure[best] > WORTH * dim else", "if True else", "tests/test_subspaces.py -k begins"),
    Mutant("recipes/hybrid.py", "if trial.gain >= nearly", "if True", "tests/test_hybrid.py"),
    Mutant("recipes/_discrete.py", "int(counts.max()) >= TIES * len(x)", "False", "tests/test_hybrid.py -k step"),
    Mutant("models/dequantized.py", "return total - math.log(self.points) + volume", "return total + volume", "tests/test_hybrid.py"),
    Mutant("models/dequantized.py", "((x - self.origins) / steps).floor()", "((x - self.origins) / steps).round()", "tests/test_hybrid.py"),
    Mutant("recipes/_discrete.py", "return torch.maximum(FINE * spread, step)", "return step", "tests/test_hybrid.py -k step"),
    Mutant("recipes/_rotations.py", "if correlation_is_confirmed(rows):", "if True:", "tests/test_guard.py -k pca_rotation"),
    Mutant("ops/_root.py", "torch.where(inside & pays,", "torch.where(inside,", "tests/test_mixture_transport.py -k way_back"),
    Mutant("transforms/_smooth.py", "    _reach_out(value, slope, u, *ends)\n", "", "tests/test_smooth.py -k far_row"),
    Mutant("transforms/_peaks.py", "(mass - 1).clamp(min=0)", "mass.clamp(min=0)", "tests/test_peaks.py -k supports"),
    Mutant("transforms/_peak_map.py", "torch.minimum(slope, STEEPEST * beside)", "slope", "tests/test_peaks.py -k narrower"),
    Mutant("transforms/_peak_map.py", "sign * data.x[end] + data.deviation", "sign * data.x[end]", "tests/test_peaks.py -k beyond"),
    Mutant("transforms/base.py", "for part in reversed(list(self)):\n            z, ladj", "for part in self:\n            z, ladj", contract("round_trip")),
    Mutant("transforms/base.py", "                rows = rows.through(part)\n", "                pass\n", "tests/test_chain.py"),
    Mutant("transforms/base.py", "return all(part.smooth for part in self)", "return True", "tests/test_chain.py"),
    Mutant("transforms/base.py", "if rows.dim != self.dim:", "if False:", contract("fit_door", "test_contract_far.py")),
    # transforms: rotations and affine maps
    Mutant("ops/orthogonal.py", "torch.lerp(base, solved, 2.0)", "solved", contract("log_det and Rotation")),
    Mutant("ops/orthogonal.py", "torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -q, q)", "q", "tests/test_orthogonal.py"),
    Mutant("ops/orthogonal.py", "reversed(blocks) if inverse else blocks", "blocks", "tests/test_orthogonal.py"),
    Mutant("ops/hadamard.py", "(False, True) if inverse else", "(True, False) if inverse else", contract("Hadamard")),
    Mutant("transforms/_orthogonal.py", "        self.A.zero_()\n", "", "tests/test_rotation.py"),
    Mutant("transforms/permutation.py", "self.order.argsort()", "self.order", contract("Permutation")),
    Mutant("transforms/affine.py", "x.new_zeros(x.shape[:-1]) - self.log_scale.sum()", "x.new_zeros(x.shape[:-1])", contract("Standardize")),
    Mutant("transforms/affine.py", ".masked_fill(frame.constant, 1)", "", "tests/test_affine.py"),
    Mutant("transforms/_moments.py", "scores[0] += SHRINKAGE_PRICE", "scores[-1] += 1e9", "tests/test_affine.py"),
    Mutant("transforms/axes.py", "return torch.cat([point_up(turn @ axes[:rank]), axes[rank:]])", "return axes", "tests/test_axes.py"),
    # transforms: splines, tables, mixtures
    Mutant("ops/_spline.py", "(outside - above) * d0)", "(outside - above) * d1)", "tests/test_ops_spline.py"),
    Mutant("ops/_spline.py", "eta * (2 * s - d1)", "eta * (2 * s + d1)", "tests/test_ops_spline.py"),
    Mutant("ops/quantile.py", "= value - left + share * (left + right)", "= value", "tests/test_quantile.py"),
    Mutant("ops/_tails.py", "(v.detach().clamp(max=64) * 16).round() / 16", "0 * v.detach()", "tests/test_ops_accuracy.py"),
    Mutant("ops/_spline.py", "end - x + (side_ - width)", "end - x", "tests/test_ops_spline.py"),
    Mutant("ops/_spline_search.py", "return torch.minimum(place, last)", "return place", "tests/test_recompute.py -k bin_among"),
    Mutant("ops/_spline_gradients.py", "l_t.mul_(torch.eq(outside", "abs(torch.eq(outside", "tests/test_spline_bins.py"),
    Mutant("ops/_spline_gradients.py", "(gl - slanted) / bins.h", "(gl + slanted) / bins.h", "tests/test_spline_bins.py"),
    Mutant("ops/_spline_gradients.py", "or is_traced(grads)", "or False", "tests/test_spline_bins.py"),
    Mutant("ops/_spline_bins.py", "torch.nan)\n    return torch.cat", "torch.inf)\n    return torch.cat", "tests/test_spline_bins.py"),
    Mutant("ops/_spline_bins.py", "torch.ge(b, 1,", "torch.ge(b, 2,", "tests/test_spline_bins.py"),
    Mutant("ops/_normals_far.py", "torch.lerp(p, q, 0.5 + 0.5 * right)", "torch.minimum(p, q)", "tests/test_normals.py"),
    Mutant("ops/_spline_traced.py", "torch.where(slope < torch.inf, found, slope)", "found", "tests/test_spline_traced.py -k logarithm"),
    Mutant("ops/_spline_traced.py", "past = x >= found", "past = x > found", "tests/test_spline_traced.py -k bins"),
    Mutant("ops/_spline_traced.py", "0.14201383", "0.1421", "tests/test_spline_traced.py -k logarithm"),
    Mutant("ops/_spline_traced.py", "(end - x + (side - width))", "(end - x)", "tests/test_spline_traced.py -k edges"),
    Mutant("ops/_normals.py", "by_density - by_tail", "by_density + by_tail", "tests/test_normals.py"),
    Mutant("ops/_normals.py", "index_add_(1, column, part[:, 0])", "mul_(0)", "tests/test_normals.py"),
    Mutant("ops/_normals_quick.py", "places + i * step * x.shape[1]", "places", "tests/test_normals.py"),
    Mutant("ops/_normals_far.py", "inside.double() - means.double()", "(inside - means).double()", "tests/test_ops_accuracy.py"),
    Mutant("ops/_sort.py", "left -= half", "left = half", "tests/test_sorted.py"),
    Mutant("transforms/_sorted_scores.py", "e0, r.square_())", "e1, r.square_())", "tests/test_sorted.py"),
    Mutant("training/grow.py", "if self.owner else self.train.through(block)", "if True else None", "tests/test_grow.py -k caller"),
    Mutant("ops/_recompute.py", "total += more", "total.copy_(more)", "tests/test_recompute.py"),
    Mutant("ops/_recompute.py", "tuple(t.view_as(t) for t in inputs)", "inputs", "tests/test_recompute.py"),
    Mutant("ops/_eager.py", "piece.copy_(f(*parts))", "piece.copy_(f(*parts) if len(piece) == PIECE else piece * 0)", "tests/test_recompute.py"),
    Mutant("transforms/_coupling.py", "return (parts[0], parts[1]) if self._kept_first else", "return (parts[0], parts[1]) if True else", "tests/test_coupling.py -k regular"),
    Mutant("ops/_tails.py", "v = v + (m.log()", "v = v - (m.log()", "tests/test_ops_tails.py"),
    Mutant("ops/_normals_far.py", "- log_part + mills_ratio(v).log()", "- log_part", contract("log_det and MixtureCDF")),
    Mutant("transforms/_folds.py", "(label != i, label == i)", "(label == i, label == i)", "tests/test_smooth.py tests/test_marginal.py"),
    Mutant("transforms/marginal_table.py", "smooth = False", "smooth = True", contract("no_jump_in_x", "test_contract_far.py")),
    Mutant("transforms/marginal_table.py", "(x - inside) * outer", "0 * outer", contract("far_out and MarginalTable", "test_contract_far.py")),
    # transforms: couplings
    Mutant("transforms/coupling.py", "(z - shift) * scale_of(slope), slope", "z * scale_of(slope) - shift, slope", "tests/test_coupling.py -k without_gradients"),
    Mutant("transforms/_coupling.py", "squash(kept, RADIUS)", "kept", "tests/test_coupling.py tests/test_coupling_stacks.py"),
    Mutant("transforms/_coupling.py", '"mask": list(self.mask)', '"mask": [0]', contract("state_dict")),
    Mutant("transforms/_coupling.py", "seen = torch.cat([seen, self._spread(context, batch).to(kept.dtype)], -1)", "seen = torch.cat([seen, 0 * self._spread(context, batch).to(kept.dtype)], -1)", contract("context_is")),
    # models
    Mutant("models/flow.py", " - 0.5 * self.dim * math.log(2 * math.pi)", "", "tests/test_flow.py"),
    Mutant("models/flow.py", "self.transform.inverse(z, context)[0]", "self.transform(z, context)[0]", "tests/test_flow.py"),
    Mutant("models/_variational.py", "2 * self.latent_dim)\n        mean, log_variance = numbers.chunk(2, -1)", "2 * self.latent_dim)\n        log_variance, mean = numbers.chunk(2, -1)", "tests/test_vae.py"),
    Mutant("models/_variational.py", "soft_bound(log_variance, LOG_VARIANCE)", "soft_bound(2 * log_variance, LOG_VARIANCE)", "tests/test_vae.py -k standard_deviation"),
    Mutant("models/_variational.py", "if self.training and self.penalty is not None:", "if self.penalty is not None:", "tests/test_vae.py"),
    Mutant("models/_variational.py", "total - math.log(samples)", "total", "tests/test_vae.py"),
    Mutant("models/_posterior.py", "posterior.gaussian.log_prob(u) - ladj", "posterior.gaussian.log_prob(u) + ladj", "tests/test_vae.py"),
    Mutant("models/schedules.py", "        if self.training:\n            self.count += 1", "        self.count += 1", "tests/test_vae.py tests/test_vae_train.py"),
    Mutant("models/likelihoods.py", "(x - 0.5) * output - log_sinhc", "(x - 0.5) * output + log_sinhc", "tests/test_likelihoods.py"),
    Mutant("models/likelihoods.py", "torch.where(low, below, torch.where(high, above, inner))", "inner", "tests/test_likelihoods.py"),
    Mutant("models/diagnostics.py", "(second - first.square())", "second", "tests/test_vae.py"),
    Mutant("nets/conv.py", "(have - want) // 2", "(have - want) * 0", "tests/test_conv.py"),
    Mutant("nets/conv.py", "torch.cat([code, given], 1) if self.label_code else code", "torch.cat([code, 0 * given], 1) if self.label_code else code", "tests/test_conv.py"),
    # grow
    Mutant("training/grow.py", "key=self.nats[1:].__getitem__", "key=lambda i: -i", "tests/test_grow.py"),
    Mutant("training/grow.py", "self.held_out = held_out\n", "pass\n", "tests/test_grow.py"),
    Mutant("training/_measures.py", "- z.double().square()", "- x.double().square()", "tests/test_grow.py"),
    Mutant("transforms/_splines.py", "return saturate(x).index_copy_(1, moved, part), ladj", "return saturate(x), ladj", "tests/test_value_table.py"),
    Mutant("transforms/_splines.py", "torch.maximum(off, steep)", "off", "tests/test_value_table.py"),
    Mutant("ops/quantile.py", "away.mul_(_counts(rows, FINEST)", "away.mul_(0 * _counts(rows, FINEST) + 1", "tests/test_quantile.py"),
    Mutant("ops/_sort.py", "2.0 ** (28 - bits)", "2.0 ** (20 - bits)", "tests/test_sorted.py"),
    Mutant("transforms/_folds.py", "x[:FIRST].median(0).values", "0 * x[0]", "tests/test_folds.py"),
    Mutant("training/grow.py", "self.seed * 1_000_003 + index", "index", "tests/test_grow.py"),
    Mutant("training/grow.py", "self.seed * 1_000_003 + index", "self.seed * 1_000_003", "tests/test_grow.py"),
    Mutant("training/grow.py", 'if meta.get("growth") != self.identity:', "if False:", "tests/test_grow.py"),
    Mutant("training/_measures.py", "x.double().square() - z.double().square()", "z.double().square() - x.double().square()", "tests/test_measures.py"),
    Mutant("losses/_pairs.py", "linear - _log_det_by_chance(n, dim),", "linear,", "tests/test_decomposition.py"),
    Mutant("losses/_spacings.py", ".log() - by_chance)", ".log())", "tests/test_decomposition.py"),
    # the closed-form marginal
    Mutant("ops/quantile.py", "(scores[0], scores[-1])", "(-9, 9)", "tests/test_quantile.py"),
    Mutant("ops/quantile.py", "slope * (u - inside)", "0 * slope", "tests/test_quantile.py"),
    Mutant("ops/quantile.py", "- 0.375) / (n + 0.25)", "- 0.5) / n", "tests/test_quantile.py"),
    Mutant("transforms/_folds.py", "(label != i, label == i)", "(label >= 0, label == i)", "tests/test_smooth.py"),
    Mutant("transforms/_estimates.py", "cls(spread_ties(x),", "cls(x,", "tests/test_smooth.py"),
    Mutant("transforms/_smooth.py", ".clamp_(-MOST_AGAINST, MOST_OF_A_ROW)", ".clamp_(min=-MOST_AGAINST)", "tests/test_smooth.py"),
    Mutant("transforms/_smooth.py", "torch.where(richer >= 0, richer + 1, normal)", "torch.where(richer >= 0, richer, normal)", "tests/test_smooth.py"),
    # train
    Mutant("training/_trainer.py", "(-mean).backward()", "mean.backward()", "tests/test_train.py"),
    Mutant("training/_trainer.py", "if score > self.best_score:", "if True:", "tests/test_train.py"),
    Mutant("training/_trainer.py", "self.settings.clip or math.inf", "math.inf", "tests/test_train.py"),
    Mutant("training/_trainer.py", "(-values.sum() / head[1]", "(-values.mean() / head[1]", "tests/test_train_ranks.py"),
    Mutant("training/_trainer.py", "nullcontext() if self.average is None else self.average.inside(self.model)", "nullcontext()", "tests/test_vae_train.py"),
    Mutant("training/_trainer.py", "                self.model.load_state_dict(counts, strict=False)  # an annealing does not begin again\n", "", "tests/test_vae_train.py"),
    Mutant("training/_trainer.py", "            self.average.steps = meta[\"averaged\"]\n", "", "tests/test_vae_train.py"),
    Mutant("training/_trainer.py", "most = sizes.index(max(sizes))", "most = 0", "tests/test_train_ranks.py"),
    # losses
    Mutant("losses/kl.py", "exp_above_tangent(p.log_variance - q.log_variance)", "exp_above_tangent(q.log_variance - p.log_variance)", "tests/test_kl.py"),
    Mutant("losses/kl.py", "torch.where(near, 2 * torch.where(near, r, 0.0).log1p(), p.log_variance - q.log_variance)", "p.log_variance - q.log_variance", "tests/test_kl.py"),
    Mutant("losses/_gaussian.py", "(0.5 * self.log_variance).exp() * _noise", "self.log_variance.exp() * _noise", "tests/test_kl.py"),
    Mutant("losses/_gaussian.py", "columns * root * root", "columns * (root * root)", "tests/test_kl.py"),
    Mutant("ops/exponential.py", "NEAR = 0.5", "NEAR = 0.0", "tests/test_kl.py"),
    Mutant("losses/_pairs.py", "(GROUPS - 1) * (left_out", "(left_out", "tests/test_decomposition.py"),
    # anomalies
    Mutant("apps/anomaly.py", "for chunk, _ in valid.chunks()", "for chunk, _ in rows.chunks()", "tests/test_anomaly.py"),
    Mutant("apps/_roc.py", "for right in (False, True)", "for right in (False, False)", "tests/test_anomaly.py"),
    Mutant("losses/_ssim.py", "z.narrow(dim, z.shape[dim] - 1, 1)", "z.narrow(dim, 0, 1)", "tests/test_ssim.py -k 'odd_sides or each_mean'"),
    Mutant("losses/_ssim.py", ".square().clamp(min=floor)", ".square()", "tests/test_ssim_gradients.py -k finite_images"),
    Mutant("losses/_ssim_planes.py", 'mode="replicate"', 'mode="reflect"', "tests/test_ssim.py -k step_by_step"),
    Mutant("losses/_ssim_planes.py", "wide[height - 1] += wide[height]", "pass", "tests/test_ssim_gradients.py -k finite_differences"),
    Mutant("losses/_ssim_planes.py", "ctx.scales), wanted, grad, create_graph=True", "ctx.scales).detach() + 0 * x.sum(), wanted, grad, create_graph=True", "tests/test_ssim_gradients.py -k second"),
    Mutant("losses/_ssim_planes.py", "by_means = [torch.add(by_ms, by_md, alpha=sign)", "by_means = [torch.add(by_ms, by_md)", "tests/test_ssim_gradients.py -k finite_differences"),
    Mutant("losses/_ssim_compiled.py", "grad / unit[:, None]", "grad", "tests/test_ssim_gradients.py -k compiles"),
    Mutant("losses/ssim.py", "whole + (product - whole).detach()", "product", "tests/test_ssim_gradients.py -k 'without_a_gradient or inverted_start'"),
    Mutant("losses/ssim.py", "torch.where(positive, means, 1.0).pow(w)", "means.clamp(min=0).pow(w)", "tests/test_ssim_gradients.py -k mean_of_zero"),
    Mutant("losses/ssim.py", "weight / sum(weights[:count])", "weight", "tests/test_ssim.py -k fewer_scales"),
    # files
    Mutant("training/_checkpoint.py", 'self._header.get("sha256") != ', "None is ", "tests/test_checkpoint.py tests/test_io.py"),
    Mutant("training/_checkpoint.py", "if version != str(FORMAT_VERSION):", "if False:", "tests/test_checkpoint.py tests/test_io.py"),
    Mutant("recipes/io.py", '_check_layout(file.layout, _layout(model.state_dict()), "the file", "its recipe")', "pass", "tests/test_io.py"),
    Mutant("recipes/_recipe.py", "if found is None or is_module != (what is nn.Module):", "if found is None:", "tests/test_io.py"),
    # labelled images
    Mutant("apps/_images.py", "pixels.permute(0, 3, 1, 2)", "pixels.reshape(shape[0], shape[3], *shape[1:3])", "tests/test_images.py"),
    Mutant("apps/_images.py", "LUMA.reshape(3, 1, 1)", "LUMA.mean()", "tests/test_images.py"),
    Mutant("apps/_folder.py", "if image.getextrema()[3][0] < 255:", "if False:", "tests/test_images.py"),
    Mutant("apps/labelled_set.py", "(255 * x.clamp(0, 1)).round() / 255", "x.clamp(0, 1)", "tests/test_labelled_set.py"),
    Mutant("apps/_closeness.py", "kthvalue(k + 1, 1)", "kthvalue(k, 1)", "tests/test_judge.py"),
    Mutant("apps/_closeness.py", "- 2 * crossed", "- crossed", "tests/test_judge.py"),
    Mutant("apps/_measures.py", "generator=generator)[:size]]", "generator=generator)]", "tests/test_judge.py"),
    Mutant("models/kernel.py", "math.sqrt(1 - h * h) * about", "about", "tests/test_kernel.py"),
    Mutant("models/kernel.py", "kernels.diagonal(dim1=0, dim2=2).fill_(-torch.inf)", "pass", "tests/test_kernel.py"),
    Mutant("models/mixture.py", ".log()).logsumexp(-1)", ".log()).amax(-1)", "tests/test_learn_images.py"),
    Mutant("recipes/learn_images.py", "and not rising.changing", "and rising.changing", "tests/test_learn_images.py"),
    Mutant("training/augment.py", "* down * ratio", "* down", "tests/test_learn_images.py"),
    # tables: their report, files, digits
    Mutant("apps/tabular/report/_exposure.py", "variance = counts.var() * 2 * n", "variance = np.square(counts).mean() * 2 * n", "tests/test_table_report.py -k 'nearness'"),
    Mutant("apps/tabular/report/_exposure.py", "np.mean((near < far) + 0.5 * (near == far))", "np.mean(near <= far)", "tests/test_table_report.py -k 'memory'"),
    Mutant("apps/tabular/report/_exposure.py", "Share(*area_of(-far, -near))", "Share(*area_of(far, near))", "tests/test_table_report.py -k 'copies'"),
    Mutant("apps/tabular/report/_exposure.py", "rows = np.flatnonzero(counts[place] == 1)", "rows = np.flatnonzero(counts[place] >= 1)", "tests/test_table_report.py -k 'rare'"),
    Mutant("apps/tabular/report/_likeness.py", "1.358 * np.sqrt", "1.0 * np.sqrt", "tests/test_table_report.py -k 'chance'"),
    Mutant("apps/tabular/report/_likeness.py", "outside = float((b >= kind.known).mean())", "outside = 0.0", "tests/test_table_report.py -k 'outside'"),
    Mutant("apps/tabular/report/_likeness.py", "learn(kinds, train, drawn, test, target)", "learn(kinds, train, train, test, target)", "tests/test_table_report.py -k 'labels'"),
    Mutant("apps/tabular/report/_page.py", "return html.escape(str(value))", "return str(value)", "tests/test_table_report.py -k 'alone'"),
    Mutant("apps/tabular/frames/_large.py", "np.partition(least, most - 1)[:most]", "least[:most]", "tests/test_tabular_large.py -k 'even or chance or sums'"),
    Mutant("apps/tabular/frames/_file_checks.py", "delimiter=delimiter, strict=True", "delimiter=delimiter", "tests/test_malformed_tables.py -k 'quote'"),
    Mutant("apps/tabular/law/_shape.py", "np.where(z[:, None] > 0, shares[:, ::-1], shares)", "shares", "tests/test_tabular_shapes.py -k 'share'"),
    Mutant("apps/tabular/law/_shape.py", "+ np.log(own * shares.shape[1])\n    return", "\n    return", "tests/test_tabular_shapes.py -k 'back'"),
    Mutant("apps/tabular/law/_values.py", "(far, first + fourth)]", "(y, first)]", "tests/test_tabular_shapes.py -k 'humps'"),
    Mutant("apps/tabular/law/_values.py", "return near, far, max(trust, stray)", "return near, EVEN, stray", "tests/test_tabular_shapes.py -k 'stand_still'"),
    Mutant("apps/tabular/law/_values.py", "untilted(z, at.far)", "z", "tests/test_tabular_shapes.py -k 'drawn'"),
    Mutant("apps/tabular/law/_joint.py", "return orders[int(gain.mean() > SURE", "return orders[int(gain.mean() > 100 + SURE", "tests/test_tabular_shapes.py -k 'stand'"),
    Mutant("apps/tabular/law/_bag.py", "said /= len(leaves)", "said /= 1 + len(leaves)", "tests/test_tabular_shapes.py -k 'humps'"),
    Mutant("apps/tabular/law/_forest.py", "> self._bounds.take(node)", "< self._bounds.take(node)", "tests/test_tabular_shapes.py -k 'humps'"),
    Mutant("apps/tabular/frames/_lattice.py", "APART / 2 * error)", "0.1 * error)", "tests/test_tabular_lattice.py -k 'found'"),
    Mutant("apps/tabular/frames/_lattice.py", "(lattice := _find(values, error)) is not None]", "(lattice := _find(values, error)) is not None][:1]", "tests/test_tabular_lattice.py -k 'decimals'"),
    Mutant("apps/tabular/law/_odds.py", "scores: Floats = lines[:, 0] + lines[:, 1] * heard", "scores: Floats = lines[:, 0] + 0.3 * lines[:, 1] * heard", "tests/test_tabular_odds.py -k 'likelihood'"),
    Mutant("apps/tabular/law/_odds.py", "np.where(self.groups < 0, 1.0, own[:, self.groups]) * self.shares", "own[:, self.groups] * self.shares", "tests/test_tabular_odds.py -k 'masses'"),
    Mutant("apps/tabular/law/_odds.py", "if trust > LEAST_TRUST else no_odds()", "if trust > 2 else no_odds()", "tests/test_tabular_odds.py -k 'few_rows'"),
    Mutant("apps/tabular/law/_features.py", "np.where(common == 0, LEAST_GAPS,", "np.where(common < 0, LEAST_GAPS,", "tests/test_tabular_odds.py -k 'missing_together'"),
    Mutant("apps/tabular/law/_grid.py", "_bins(cell), t - cell", "_bins(cell), 1 - (t - cell)", "tests/test_tabular_law.py -k 'intervals'"),
    Mutant("apps/tabular/law/_grid.py", "for held in (counts, counts - 1))", "for held in (counts, counts))", "tests/test_tabular_law.py -k 'even_digits'"),
    Mutant("cli/_synth.py", "return ~held, held", "return held, held", "tests/test_cli_synth_report.py -k 'report or share'"),
    # tables: rules, conditions, noise
    Mutant("apps/tabular/drawing/_draw.py", "np.where(everything <= BARRED, NEVER, weight - everything)", "np.where(everything <= BARRED, NEVER, weight)", "tests/test_tabular_rules.py -k 'law_under'"),
    Mutant("apps/tabular/drawing/_draw.py", "total -= options(", "0 * options(", "tests/test_tabular_rules.py -k 'sums'"),
    Mutant("apps/tabular/drawing/_draw.py", "np.where(plan.broken(values), -np.inf, total)", "total", "tests/test_tabular_rules.py -k 'no_probability'"),
    Mutant("apps/tabular/rules/_coded_rules.py", "np.floor(steps + TOLERANCE) + 1 if self.strict", "np.ceil(steps - TOLERANCE) if self.strict", "tests/test_tabular_rules.py -k 'less_is'"),
    Mutant("apps/tabular/rules/_coded_rules.py", "if j == self.low and self.high in wanted:", "if False:", "tests/test_tabular_rules.py -k 'small_end'"),
    Mutant("apps/tabular/rules/_coded_rules.py", "off = np.isnan(known[self.column]) == self.present", "off = np.isnan(known[self.column]) & False", "tests/test_tabular_rules.py -k 'gaps_that'"),
    Mutant("apps/tabular/rules/_coded_rules.py", "np.where(free, -np.inf, level), np.where", "np.where(free, -np.inf, level - 1), np.where", "tests/test_tabular_rules.py -k 'all_rows'"),
    Mutant("apps/tabular/rules/_suggest.py", "limit = float(np.log(chance) - np.log(tests))", "limit = 0.0", "tests/test_suggest_constraints.py -k 'chance'"),
    Mutant("apps/tabular/rules/_plan.py", "return left if own is None else own.also(left)", "return left", "tests/test_tabular_rules.py -k 'all_rows'"),
    Mutant("apps/tabular/drawing/_completion.py", "_refuse_broken(plan, known, len(df), missing_is_given)", "None", "tests/test_tabular_rules.py -k 'partial'"),
    Mutant("apps/tabular/drawing/_sampling.py", "REFUSED, DOUBTED = (0.5, 0.05)", "REFUSED, DOUBTED = (0.0, 0.05)", "tests/test_tabular_conditions.py -k 'never_goes'"),
    Mutant("apps/tabular/drawing/_sampling.py", "REFUSED, DOUBTED = (0.5, 0.05)", "REFUSED, DOUBTED = (9.0, 2.0)", "tests/test_tabular_conditions.py -k 'never_refused'"),
    Mutant("apps/tabular/frames/_identifiers.py", "10 ** len(str(max(0, int(held.max()))))", "int(held.min()) + 1", "tests/test_tabular_identifiers.py -k 'numbers_of_rows'"),
    Mutant("apps/tabular/frames/_identifiers.py", "made = name in declared or names_rows(df[name])", "made = name in declared", "tests/test_tabular_identifiers.py -k 'names_of_rows_are'"),
    Mutant("apps/tabular/report/_beside.py", "for frame in (frames[0], *frames[2:])", "for frame in frames[2:]", "tests/test_tabular_identifiers.py -k 'report_says'"),
    Mutant("apps/tabular/frames/_number_cells.py", "found and unclear(bodies):", "found and False:", "tests/test_tabular_cells.py -k 'two_readings or come_back'"),
    Mutant("apps/tabular/frames/_moment_cells.py", "times.equals(found[0][0]) for", "True for", "tests/test_tabular_cells.py -k 'come_back'"),
    Mutant("apps/tabular/frames/_cells.py", "for gaps in (missing, bare.isin([*MARKS, *AMONG_NUMBERS])):", "for gaps in (missing,):", "tests/test_tabular_cells.py -k 'come_back'"),
    Mutant("apps/tabular/drawing/_completion.py", "scores = weights + random.gumbel(size=len(weights))", "scores = 0 * weights + random.gumbel(size=len(weights))", "tests/test_tabular_completion.py -k 'conditional'"),
    Mutant("apps/tabular/drawing/_combinations.py", "levels[rest % len(levels)]", "levels[0 * rest]", "tests/test_tabular_completion.py -k 'conditional'"),
    Mutant("apps/tabular/drawing/_completion.py", "weights[held[old]] = self.weights[at][old]", "0 * old", "tests/test_tabular_completion.py -k 'kept_or_thrown or chain'"),
    Mutant("apps/tabular/private/_private.py", "order, parents = _walk(d, edges, plan.edges)", "order, parents = _walk(d, edges)", "tests/test_tabular_private.py -k 'say_all'"),
    Mutant("apps/tabular/private/_noise.py", "discrete_laplace(self.times / self.epsilon, n)", "discrete_laplace(1 / self.epsilon, n)", "tests/test_tabular_private.py -k 'spent'"),
    Mutant("apps/tabular/private/_noise.py", "math.sqrt(8 * self.rho / self.times)", "math.sqrt(16 * self.rho / self.times)", "tests/test_tabular_private.py -k 'spent'"),
    Mutant("apps/tabular/private/_noise.py", "0.5 * epsilon * scores", "epsilon * scores", "tests/test_tabular_private.py -k 'odds'"),
    Mutant("apps/tabular/private/_noise.py", "* scale) for _ in range(2))", "* scale / 2) for _ in range(2))", "tests/test_tabular_private.py -k 'laplace'"),
    Mutant("apps/tabular/private/_private.py", "+ part.noise(size))", "+ 0 * part.noise(size))", "tests/test_tabular_private.py -k 'neighbouring'"),
    Mutant("apps/tabular/private/_bounds.py", "return np.clip(codes, min(ends), max(ends))", "return codes", "tests/test_tabular_private.py -k 'beyond'"),
    Mutant("apps/tabular/private/_private_law.py", "group, part] + within * height", "group, part] + within * 0.5 * height", "tests/test_tabular_private.py -k 'bins'"),
]  # fmt: skip


def run(tests: str, mutant: Mutant | None = None) -> int:
    """Pytest's exit code for the tests in a copy of the tree, with the bug or without one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "docs", "__pycache__", "*.egg-info"))
        if mutant:
            path = copy / "src" / "gaussflow" / mutant.file
            path.write_text(path.read_text().replace(mutant.old, mutant.new))
        environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
        command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {tests}"
        return subprocess.run(command, shell=True, cwd=copy, env=environment, capture_output=True).returncode


@cache
def passes(tests: str) -> bool:
    """Whether the tests pass without a bug: only then does their failure say something."""
    return run(tests) == 0


def outcome(mutant: Mutant) -> str:
    """Plant the bug in a copy and run its tests there: "caught", "MISSED", or what is wrong with the mutant."""
    times = (ROOT / "src" / "gaussflow" / mutant.file).read_text().count(mutant.old)
    if times != 1:
        return f"STALE ({times} times there)"
    if not passes(mutant.tests):
        return "RED before"
    code = run(mutant.tests, mutant)
    return {0: "MISSED", 1: "caught"}.get(code, f"BROKEN (pytest: {code})")


def main() -> int:
    """Print a line for each bug as soon as it is known; the exit code."""
    chosen = [m for m in MUTANTS if not sys.argv[1:] or any(part in f"{m.file} {m.old}" for part in sys.argv[1:])]
    verdicts = []
    for mutant in chosen:
        start = time.perf_counter()
        verdicts.append(outcome(mutant))
        what = " ".join(mutant.old.split())[:60]
        print(f"{verdicts[-1]:8} {time.perf_counter() - start:5.0f} s  {mutant.file:30} {what}", flush=True)
    print(f"{verdicts.count('caught')} of {len(chosen)} planted bugs caught")
    return 0 if chosen and set(verdicts) == {"caught"} else 1


if __name__ == "__main__":
    sys.exit(main())
