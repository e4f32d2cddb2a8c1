"""A 2-8-1 network learns XOR: run `python examples/xor.py`."""

import minigrad
from minigrad import nn, optim

minigrad.manual_seed(0)
inputs = minigrad.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
targets = minigrad.tensor([[0.0], [1.0], [1.0], [0.0]])

model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
loss_function = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)


def step():
    """One step of gradient descent; returns the loss."""
    optimizer.zero_grad()
    loss = loss_function(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss


def main():
    for number in range(1, 1001):
        loss = step()
        if number % 200 == 0:
            print(f"step {number}: loss {loss.item():.6f}")

    with minigrad.no_grad():
        outputs = model(inputs)
    right = 0
    for (a, b), output, target in zip(inputs.tolist(), outputs, targets):
        prediction = round(output.item())
        right += prediction == target.item()
        print(f"{a:.0f} xor {b:.0f} = {prediction}   (network says {output.item():.3f})")
    print(f"{right} of {len(targets)} right, loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
