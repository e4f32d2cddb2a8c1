"""A small network of single numbers learns to part two moons: run `python examples/micrograd.py`.

Every weight and every input is a tensor without dimensions, as in Karpathy's micrograd (2020): the network is built
from neurons that multiply and add number by number. The loss is a support vector machine's: a score should lie on its
label's side (+1 or -1) by a margin of 1. Prints loss and accuracy, and saves the picture micrograd_moons.png.

    python examples/micrograd.py --batch 4 --steps 200     # a random batch of 4 a step
    python examples/micrograd.py --draw neuron.svg         # one neuron's graph (needs pip install 'minigrad[draw]')
"""

import argparse
import random
import time
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import minigrad
from minigrad import tensor


class Neuron:
    def __init__(self, inputs, active=True):
        self.weights = [tensor(random.uniform(-1, 1), requires_grad=True) for _ in range(inputs)]
        self.bias = tensor(0.0, requires_grad=True)
        self.active = active

    def __call__(self, x):
        total = sum((w * value for w, value in zip(self.weights, x)), self.bias)
        return total.relu() if self.active else total

    def parameters(self):
        return [*self.weights, self.bias]


class Layer:
    def __init__(self, inputs, outputs, active=True):
        self.neurons = [Neuron(inputs, active) for _ in range(outputs)]

    def __call__(self, x):
        return [neuron(x) for neuron in self.neurons]

    def parameters(self):
        return [p for neuron in self.neurons for p in neuron.parameters()]


class MLP:
    def __init__(self, *sizes):
        last = len(sizes) - 2
        self.layers = [Layer(a, b, active=i < last) for i, (a, b) in enumerate(pairwise(sizes))]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x[0]

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]


def loss_and_scores(model, points, labels):
    """The mean hinge loss, plus 1e-4 times the sum of squared parameters, and each point's score."""
    scores = [model(point) for point in points]
    hinge = sum((1 - label * score).relu() for label, score in zip(labels, scores)) / len(labels)
    penalty = 1e-4 * sum(p * p for p in model.parameters())
    return hinge + penalty, scores


def step(model, points, labels, rate):
    """One step of gradient descent; returns the loss and the scores before it."""
    for p in model.parameters():
        p.grad = None
    loss, scores = loss_and_scores(model, points, labels)
    loss.backward()
    with minigrad.no_grad():
        for p in model.parameters():
            p -= rate * p.grad
    return loss, scores


def picture(model, points, labels, path):
    """The plane coloured by the sign of the score. Here whole grids go through the network instead of numbers: its
    lines are the same for both."""
    (left, bottom), (right, top) = points.min(axis=0) - 1, points.max(axis=0) + 1
    xs, ys = np.meshgrid(np.arange(left, right, 0.05, np.float32), np.arange(bottom, top, 0.05, np.float32))
    with minigrad.no_grad():
        scores = model([minigrad.from_numpy(xs), minigrad.from_numpy(ys)]).numpy()
    plt.figure(figsize=(6, 5))
    plt.contourf(xs, ys, scores > 0, cmap="Spectral", alpha=0.8)
    plt.scatter(*points.T, c=labels, s=40, cmap="Spectral", edgecolors="black", linewidths=0.5)
    plt.title(f"two moons: {len(model.parameters())} single numbers")
    plt.tight_layout()
    plt.savefig(path, dpi=120)
    plt.close()


def main(arguments=None):
    options = argparse.ArgumentParser(description="micrograd's demo with minigrad's tensors of no dimensions")
    options.add_argument("--samples", type=int, default=100, help="points in the two moons (100)")
    options.add_argument("--batch", type=int, default=0, help="points drawn at random for each step (0: all)")
    options.add_argument("--steps", type=int, default=100, help="training steps (100)")
    options.add_argument("--picture", default="micrograd_moons.png", help="where the picture goes")
    options.add_argument("--draw", metavar="PATH", help="also draw the graph of the first neuron, as SVG")
    options = options.parse_args(arguments)

    random.seed(1337)
    points, labels = make_moons(n_samples=options.samples, noise=0.1, random_state=1)
    points, labels = points.astype(np.float32), [2 * int(label) - 1 for label in labels]
    model = MLP(2, 16, 16, 1)
    print(f"a network 2-16-16-1 of {len(model.parameters())} numbers, {options.samples} points")

    for number in range(options.steps):
        start = time.perf_counter()
        chosen = random.sample(range(len(points)), options.batch) if options.batch else range(len(points))
        signs = [labels[i] for i in chosen]
        rate = 1.0 - 0.9 * number / options.steps
        loss, scores = step(model, [(tensor(x), tensor(y)) for x, y in points[chosen].tolist()], signs, rate)
        right = sum((score.item() > 0) == (sign > 0) for score, sign in zip(scores, signs))
        print(f"step {number}: loss {loss.item():.4f}, accuracy {right / len(signs):.0%}, "
              f"{time.perf_counter() - start:.2f} s")

    if options.draw:
        x, y = (tensor(value, requires_grad=True) for value in points[0].tolist())
        neuron = model.layers[0].neurons[0]
        (w0, w1), bias = neuron.weights, neuron.bias
        w0.grad = w1.grad = bias.grad = None
        output = neuron([x, y])
        output.backward()
        minigrad.utils.draw(output, locals()).save(options.draw)
        print(f"graph of one neuron: {options.draw}")
    picture(model, points, labels, options.picture)
    print(f"decision boundary: {options.picture}")


if __name__ == "__main__":
    main()
