"""A convolutional network learns handwritten digits (scikit-learn's, 8x8 pixels), in plain PyTorch.

    python -m minigrad.torch examples/mnist_cnn.py --out digits.png

PyTorch runs the same file: python examples/mnist_cnn.py. With --out it saves a picture of some digits and what the
network takes them for.
"""

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset, random_split

try:
    from tqdm import tqdm
except ModuleNotFoundError:
    def tqdm(iterable, **options):
        return iterable


class Digits(Dataset):
    """1,797 images (1, 8, 8) in [0, 1] with their digit."""

    def __init__(self, limit=None):
        images, labels = load_digits(return_X_y=True)
        self.images = torch.tensor(images[:limit], dtype=torch.float32).view(-1, 1, 8, 8) / 16
        self.labels = torch.tensor(labels[:limit])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = self.dropout(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


def train(model, loader, optimizer, scheduler, epoch):
    """One pass over the training set; the mean loss."""
    model.train()
    total = 0.0
    for images, labels in tqdm(loader, desc=f"epoch {epoch}", leave=False):
        optimizer.zero_grad()
        loss = F.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def evaluate(model, loader):
    """Mean loss and accuracy over a set."""
    model.eval()
    loss = right = count = 0
    for images, labels in loader:
        scores = model(images)
        loss += F.nll_loss(scores, labels, reduction="sum").item()
        right += (scores.argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return loss / count, right / count


@torch.no_grad()
def draw(model, data, path):
    """Save a picture of the first digits of a set, titled by what the model takes them for."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    model.eval()
    figure, axes = plt.subplots(3, 8, figsize=(8, 3.6))
    for axis, (image, label) in zip(axes.flat, (data[i] for i in range(24))):
        guess = model(image[None]).argmax().item()
        axis.imshow(image[0].numpy(), cmap="gray_r")
        axis.set_title(guess, color="black" if guess == label else "red", fontsize=10)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--limit", type=int, help="take only the first images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="save a picture of predictions")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    data = Digits(options.limit)
    count = len(data) // 5
    training, test = random_split(data, [len(data) - count, count])
    loader = DataLoader(training, batch_size=options.batch, shuffle=True, drop_last=True)
    test_loader = DataLoader(test, batch_size=256)

    model = Network()
    print(model)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {len(training)} digits to learn, {count} to test")
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    scheduler = OneCycleLR(optimizer, max_lr=options.lr, total_steps=options.epochs * len(loader))
    for epoch in range(1, options.epochs + 1):
        loss = train(model, loader, optimizer, scheduler, epoch)
        test_loss, accuracy = evaluate(model, test_loader)
        print(f"epoch {epoch:2}  loss {loss:.4f}  test loss {test_loss:.4f}  accuracy {accuracy:.2%}  "
              f"next rate {scheduler.get_last_lr()[0]:.6f}")
    if options.out:
        draw(model, test, options.out)
        print(f"predictions: {options.out}")


if __name__ == "__main__":
    main()
