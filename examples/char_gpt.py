"""A small GPT learns to write like a text, character by character, in plain PyTorch.

    python -m minigrad.torch examples/char_gpt.py --text README.md

PyTorch runs the same file: python examples/char_gpt.py. It prints the loss as it learns, then what the model writes.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn as nn
from torch.nn import functional as F

README = Path(__file__).resolve().parent.parent / "README.md"


class Attention(nn.Module):
    """Every place looks at itself and those before it."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = (part.view(batch, time, self.heads, width // self.heads).transpose(1, 2)
                   for part in self.qkv(x).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True)
        return self.project(y.transpose(1, 2).contiguous().view(batch, time, width))


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width),
                                 nn.Dropout(dropout))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, vocabulary, context, width=96, heads=4, layers=3, dropout=0.0):
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight  # one table for reading and writing
        self.apply(self.initialize)
        for name, parameter in self.named_parameters():
            if name.endswith("project.weight"):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers))

    @staticmethod
    def initialize(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids, targets=None):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))

    @torch.no_grad()
    def generate(self, ids, count, temperature=0.8, top_k=20):
        """``count`` more characters, each drawn from the ``top_k`` likeliest."""
        self.eval()
        for _ in range(count):
            logits = self(ids[:, -self.context:])[0][:, -1, :] / temperature
            least = torch.topk(logits, min(top_k, logits.shape[-1])).values[:, [-1]]
            logits[logits < least] = -float("inf")
            ids = torch.cat((ids, torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)), dim=1)
        return ids


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=README)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--sample", type=int, default=300, help="how many characters to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    text = options.text.read_text(encoding="utf-8")
    characters = sorted(set(text))
    number = {character: i for i, character in enumerate(characters)}
    data = torch.tensor([number[character] for character in text])
    split = int(0.9 * len(data))
    parts = {"train": data[:split], "test": data[split:]}

    def batch(part):
        """Texts, and each of their characters' next one."""
        begins = torch.randint(len(parts[part]) - options.context, (options.batch,))
        x = torch.stack([parts[part][i:i + options.context] for i in begins])
        y = torch.stack([parts[part][i + 1:i + 1 + options.context] for i in begins])
        return x, y

    model = GPT(len(characters), options.context, options.width, layers=options.layers, dropout=options.dropout)
    print(f"{len(data):,} characters, {len(characters)} different ones, "
          f"{sum(p.numel() for p in model.parameters()):,} parameters")
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=options.lr, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 0.55 + 0.45 * math.cos(math.pi * step / max(options.steps, 1))))

    @torch.no_grad()
    def test_loss():
        model.eval()
        losses = torch.zeros(4)
        for k in range(len(losses)):
            losses[k] = model(*batch("test"))[1].item()
        model.train()
        return losses.mean()

    model.train()
    for step in range(options.steps):
        _, loss = model(*batch("train"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 50 == 0 or step == options.steps - 1:
            print(f"step {step:4}  loss {loss.item():.4f}  test loss {test_loss():.4f}  gradient norm {norm:.3f}")

    written = model.generate(data[None, :1], options.sample)[0].tolist()
    print("-" * 40)
    print("".join(characters[i] for i in written).strip())


if __name__ == "__main__":
    main()
