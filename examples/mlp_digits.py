"""An MLP learns handwritten digits (scikit-learn's, 8x8 pixels): run `python examples/mlp_digits.py`.

Prints its progress and saves the loss curve as mlp_digits_loss.png.
"""

import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import minigrad
from minigrad import nn, optim

EPOCHS, BATCH = 30, 64

minigrad.manual_seed(0)
images, labels = load_digits(return_X_y=True)
split = train_test_split(images / 16.0, labels, test_size=0.2, random_state=42, stratify=labels)
x_train, x_test = (minigrad.from_numpy(part).float() for part in split[:2])
y_train, y_test = (minigrad.from_numpy(part) for part in split[2:])

model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
loss_function = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=2e-3)


def accuracy(x, y):
    model.eval()
    with minigrad.no_grad():
        right = (model(x).argmax(dim=1) == y).float().mean().item()
    model.train()
    return right


def batches():
    """The training set in a random order, a batch of indices at a time."""
    order = minigrad.randperm(len(x_train))
    for begin in range(0, len(x_train), BATCH):
        yield order[begin:begin + BATCH]


def step(batch):
    """One training step; returns the loss."""
    optimizer.zero_grad()
    loss = loss_function(model(x_train[batch]), y_train[batch])
    loss.backward()
    optimizer.step()
    return loss


def main():
    print(model)
    losses = []
    start = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        for batch in batches():
            losses.append(step(batch).item())
        print(f"\repoch {epoch:2}/{EPOCHS}  loss {losses[-1]:.4f}  test accuracy {accuracy(x_test, y_test):.1%}",
              end="", flush=True)

    seconds = time.perf_counter() - start
    print(f"\n{len(losses)} steps in {seconds:.1f} s")
    print(f"test accuracy: {accuracy(x_test, y_test):.2%} of {len(y_test)} digits")

    plt.figure(figsize=(7, 4))
    plt.plot(losses, linewidth=0.8)
    plt.yscale("log")
    plt.xlabel("step")
    plt.ylabel("cross entropy")
    plt.title("Handwritten digits: training loss")
    plt.tight_layout()
    plt.savefig("mlp_digits_loss.png", dpi=120)
    print("loss curve: mlp_digits_loss.png")


if __name__ == "__main__":
    main()
