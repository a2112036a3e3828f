"""Writes products.jsonl: products of two numbers of two digits. Seeded; the same file every time.

Small models that answer at once, without steps, are right about some and not about others, and their samples differ.
No data set of reasoning-gym was as hard as that for both models in so few tokens.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

SEED = 20261123
ROWS = 120
FIRST, SECOND = range(21, 80), range(13, 40)


def main() -> None:
    """Write the file beside this script."""
    pairs = random.Random(SEED).sample(list(itertools.product(FIRST, SECOND)), ROWS)
    rows = [{"id": f"product-{a}-{b}", "a": a, "b": b, "product": a * b} for a, b in pairs]
    path = Path(__file__).parent / "products.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
