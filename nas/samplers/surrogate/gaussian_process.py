"""Gaussian process regression with one length scale per parameter, at the maximum a posteriori.

The kernel is a Matérn-5/2 kernel plus a linear one on the same scales. The Matérn kernel learns from near trials. The
linear kernel learns from every trial what each choice is worth by itself: in dozens of dimensions nothing is near, and
main effects are what can be learnt.

scikit-learn's regressor has one length scale per column (so one per choice for one-hot columns). It has no priors,
which a few dozen trials in dozens of dimensions need, and its gradient holds an n x n matrix for each scale.
Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), equations 2.25, 4.17, 5.9 and section 4.2.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.linalg.lapack import dtrtri
from scipy.optimize import minimize

Array = NDArray[np.float64]
ROOT5 = 5**0.5
JITTER = 1e-6
ABSENT = -20.0  # logarithm of the variance of a kernel that is not there


class GaussianProcess:
    """`parameter[column]` says which columns share a length scale. Hyperparameters carry over from fit to fit.

    linear: whether it has the linear kernel.
    """

    def __init__(self, parameter: NDArray[np.int64], *, linear: bool = True) -> None:
        self.parameter = parameter
        self.scales = int(parameter.max()) + 1
        # Logarithms of the length scales, then of three variances, for targets of variance one: of the Matérn kernel,
        # of the linear kernel (at a point one length scale off the centre) and of the noise. Distances grow with the
        # square root of the number of dimensions, so likely length scales do too.
        likely = np.log(0.5 * max(self.scales, 1) ** 0.5)
        self.prior = np.concatenate([np.full(self.scales, likely), [0.0, 0.0 if linear else ABSENT, np.log(1e-2)]])
        self.spread = np.concatenate([np.full(self.scales, 1.0), [1.0, 1.0, 1.5]])
        self.bounds = [(-4.0, 4.0)] * self.scales + [(-4.0, 3.0), (-4.0, 3.0) if linear else (ABSENT, ABSENT)]
        self.bounds += [(-12.0, 1.0)]
        self.theta = self.prior.copy()

    def fit(self, x: Array, y: Array, *, steps: int) -> GaussianProcess:
        """Fit to x (n, columns) and y (n,), with `steps` of L-BFGS on the hyperparameters; 0 keeps them."""
        self.mean, self.scale = y.mean(), y.std() + 1e-9
        self.centre = x.mean(0)
        self.x, self.y = x, (y - self.mean) / self.scale
        if steps:
            options = {"maxiter": steps}
            found = minimize(self._loss, self.theta, jac=True, method="L-BFGS-B", bounds=self.bounds, options=options)
            self.theta = found.x
        self._condition()
        return self

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Predict mean and variance of the function, without noise, at x (m, columns): two arrays (m,)."""
        z = self._scaled(x)
        cross = self._kernel(z, self._z)
        signal, linear, _ = np.exp(self.theta[-3:])
        variance = signal + linear * (z * z).sum(1) - ((cross @ self._inverse_root.T) ** 2).sum(1)
        return self.mean + self.scale * (cross @ self._weights), self.scale**2 * np.maximum(variance, 1e-9)

    def believing(self, x: Array) -> GaussianProcess:
        """Return a copy that takes its means at `x` (m, columns) as observed, so that running trials do not recur."""
        believer, z = copy(self), self._scaled(x)
        believer._z = np.vstack([self._z, z])
        # A point that lies where it was predicted moves no mean, so its weight is zero. The inverse of the new root
        # [[L, 0], [S, R]] contains the inverse of L.
        believer._weights = np.concatenate([self._weights, np.zeros(len(x))])
        s = self._kernel(z, self._z) @ self._inverse_root.T
        inverse_r = _inverse_root(self._noisy(self._kernel(z, z)) - s @ s.T)
        above = np.zeros((len(self._z), len(x)))
        believer._inverse_root = np.block(
            [[self._inverse_root, above], [-inverse_r @ s @ self._inverse_root, inverse_r]]
        )
        return believer

    def _condition(self) -> None:
        self._z = self._scaled(self.x)
        self._inverse_root = _inverse_root(self._noisy(self._kernel(self._z, self._z)))
        self._weights = self._inverse_root.T @ (self._inverse_root @ self.y)

    def _noisy(self, covariance: Array) -> Array:
        covariance[np.diag_indices(len(covariance))] += np.exp(self.theta[-1]) + JITTER
        return covariance

    def _scaled(self, x: Array) -> Array:
        """Return the offset from the centre in length scales."""
        scaled: Array = (x - self.centre) * np.exp(-self.theta[: self.scales])[self.parameter]
        return scaled

    def _kernel(self, a: Array, b: Array) -> Array:
        """The kernel between scaled points (m, columns) and (n, columns): (m, n)."""
        product = a @ b.T
        r = ROOT5 * distances(a, b, product)
        signal, linear, _ = np.exp(self.theta[-3:])
        kernel: Array = signal * (1 + r + r * r / 3) * np.exp(-r) + linear * product
        return kernel

    def _loss(self, theta: Array) -> tuple[float, Array]:
        """The negative log posterior of the hyperparameters, and its gradient."""
        self.theta = theta
        n, (signal, linear, noise) = len(self.y), np.exp(theta[-3:])
        z = self._scaled(self.x)
        product = z @ z.T
        r = distances(z, z, product)
        decay = np.exp(-ROOT5 * r)
        matern = signal * (1 + ROOT5 * r + 5 / 3 * r * r) * decay
        covariance = self._noisy(matern + linear * product)
        try:
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        weights = cho_solve((root, True), self.y)
        outer = cho_solve((root, True), np.eye(n)) - np.outer(weights, weights)
        gradient = np.empty_like(theta)
        # d matern / d log(scale) is signal 5/3 (1 + sqrt5 r) exp(-sqrt5 r) times the squared distance in that scale's
        # columns; d product / d log(scale) is -2 times the product in them. Sum both over all pairs without an n x n
        # matrix for each column.
        factor = outer * (signal * 5 / 3 * (1 + ROOT5 * r) * decay)
        columns = 2 * (factor.sum(1) @ (z * z)) - 2 * (((factor + linear * outer) @ z) * z).sum(0)
        gradient[: self.scales] = 0.5 * np.bincount(self.parameter, columns, minlength=self.scales)
        gradient[-3] = 0.5 * (outer * matern).sum()
        gradient[-2] = 0.5 * linear * (outer * product).sum()
        gradient[-1] = 0.5 * np.trace(outer) * noise
        off = (theta - self.prior) / self.spread
        loss = 0.5 * self.y @ weights + np.log(np.diag(root)).sum() + 0.5 * off @ off
        return float(loss), gradient + off / self.spread


def distances(a: Array, b: Array, product: Array) -> Array:
    """Distances (m, n) between points a (m, columns) and b (n, columns), given their products a b'."""
    squared = -2 * product
    squared += np.einsum("ij,ij->i", a, a)[:, None]
    squared += np.einsum("ij,ij->i", b, b)
    return np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)


def _inverse_root(covariance: Array) -> Array:
    """Return the inverse of the lower Cholesky root L of a covariance L L'."""
    root: Array = dtrtri(np.linalg.cholesky(covariance), lower=1)[0]
    return root
