"""Steps for the stage of a strategy: lists of them for the sums of rows, and what each costs here."""

from __future__ import annotations

import minigrad

LISTS = (
    "",  # plain: one element after the other
    "unroll(x0, 4)",  # four rows at once: four sums that don't wait for each other
    "lanes(r0, 8)",  # the sums of eight neighbours in the lanes of a vector
    "lanes(r0, 8), accumulate(r0, 4)",  # four such vectors
    "lanes(r0, 8), accumulate(r0, 4), unroll(x0, 2)",
)


def main() -> None:
    x = minigrad.rand(512, 1024).realize()
    wanted = x.double().sum(1)
    times = {}
    for text in LISTS:
        with minigrad.config(CACHE=0, REPLAY=0), minigrad.steps("sum_*", text), minigrad.inspect() as seen:
            for _ in range(5):
                made = x.sum(1).realize()
        times[text] = min(kernel.seconds or 0.0 for kernel in seen.kernels)
        assert seen.kernels[0].stages[0].partition(": ")[2].startswith(text or "plain loops")
        assert (made - wanted).abs().max().item() < 1e-2  # the order of additions differs, so the last bits may
    for text, seconds in times.items():
        print(f"{seconds * 1e6:8.1f} µs  {text or 'plain loops'}")


if __name__ == "__main__":
    main()
