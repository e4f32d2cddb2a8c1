"""A ResNet-18 learns new classes: its weights stay as they are, only a new head is trained. Plain PyTorch.

    python -m minigrad.torch examples/transfer_learning.py --weights resnet18-f37072fd.pth

PyTorch and torchvision run the same file: python examples/transfer_learning.py. The weights are a file of torchvision's
ResNet-18; without one the network keeps random weights, whose features still tell patterns apart. The images are drawn:
bars, checks and stripes in a folder for each, or --data names such a folder of your own.
"""

import argparse
import random
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, models, transforms


def draw_images(folder, count, size, seed):
    """``count`` pictures of each pattern, in random widths, places and shades."""
    rng = random.Random(seed)
    for pattern in ("bars", "checks", "stripes"):
        (folder / pattern).mkdir(parents=True)
        for i in range(count):
            dark, light = rng.randrange(0, 100), rng.randrange(150, 256)
            image = Image.new("L", (size, size), dark)
            draw, width = ImageDraw.Draw(image), rng.randrange(3, 7)
            left, top = rng.randrange(-2 * width, 0), rng.randrange(-2 * width, 0)
            for row, y in enumerate(range(top, size, width)):
                for column, x in enumerate(range(left, size, width)):
                    if {"bars": column, "stripes": row, "checks": row + column}[pattern] % 2:
                        draw.rectangle((x, y, x + width - 1, y + width - 1), fill=light)
            image.save(folder / pattern / f"{i:03}.png")


def make_loaders(folder, batch, size):
    """Batches of the first three quarters of each class, for training, and of the rest."""
    end = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    varied = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandomRotation(20),
                                 transforms.RandomResizedCrop(size, scale=(0.7, 1.0)), *end])
    plain = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), *end])
    training, test = datasets.ImageFolder(folder, varied), datasets.ImageFolder(folder, plain)
    number = [training.targets[:i].count(label) for i, label in enumerate(training.targets)]  # within its class
    first = [n < 0.75 * training.targets.count(label) for n, label in zip(number, training.targets)]
    return (DataLoader(Subset(training, [i for i, is_first in enumerate(first) if is_first]), batch, shuffle=True),
            DataLoader(Subset(test, [i for i, is_first in enumerate(first) if not is_first]), batch), training.classes)


def train(model, loader, optimizer, loss_function):
    """One pass over the training images; the mean loss."""
    model.eval()  # the running statistics of batch norm belong to the features: they stay
    model.fc.train()
    total = count = 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        count += len(labels)
    return total / count


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = [(model(images).argmax(1) == labels) for images, labels in loader]
    return torch.cat(right).float().mean().item()


@torch.no_grad()
def draw(model, loader, classes, path):
    """Save a picture of some test images, titled by what the model takes them for."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    model.eval()
    batches = [(images, labels, model(images).argmax(1)) for images, labels in loader]
    images, labels, guesses = (torch.cat(parts) for parts in zip(*batches))
    figure, axes = plt.subplots(2, 6, figsize=(8, 3))
    chosen = torch.linspace(0, len(labels) - 1, 12).long().tolist()
    for axis, i in zip(axes.flat, chosen):
        axis.imshow(images[i][0].numpy(), cmap="gray")
        axis.set_title(classes[guesses[i]], color="black" if guesses[i] == labels[i] else "red", fontsize=10)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a state_dict of torchvision's ResNet-18")
    parser.add_argument("--data", type=Path, help="a folder with a folder of images for each class")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=40, help="how many images of each pattern are drawn")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="save a picture of some guesses")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    model = models.resnet18(weights=None)
    if options.weights is not None:
        loaded = model.load_state_dict(torch.load(options.weights, map_location="cpu"))
        print(f"weights: {options.weights.name}, {loaded}")
    for parameter in model.parameters():
        parameter.requires_grad = False

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data
        if folder is None:
            folder = Path(temporary) / "patterns"
            draw_images(folder, options.count, options.size, options.seed)
        training, test, classes = make_loaders(folder, options.batch, options.size)
        model.fc = nn.Sequential(nn.BatchNorm1d(model.fc.in_features), nn.Linear(model.fc.in_features, len(classes)))
        frozen = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("fc.")}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        print(f"{sum(p.numel() for p in trained):,} of {sum(p.numel() for p in model.parameters()):,} parameters are "
              f"trained, for {len(classes)} classes: {', '.join(classes)}")

        optimizer = torch.optim.Adam(trained, lr=options.lr)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.3)
        loss_function = nn.CrossEntropyLoss()
        for epoch in range(1, options.epochs + 1):
            loss = train(model, training, optimizer, loss_function)
            scheduler.step()
            print(f"epoch {epoch}  loss {loss:.4f}  test accuracy {accuracy(model, test):.2%}")
        if options.out:
            draw(model, test, classes, options.out)
            print(f"guesses: {options.out}")

    now = model.state_dict()
    changed = [name for name, value in frozen.items() if not torch.equal(value, now[name])]
    assert not changed, f"these changed: {changed}"
    print(f"{len(frozen)} frozen tensors are what they were")


if __name__ == "__main__":
    main()
