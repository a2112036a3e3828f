"""Writes facts.jsonl: who travels to which capital, and when the fairs are. Seeded; the same file every time.

Two hops: the capital of a country (from memory), then the day of that city's fair (from the facts given). No two rows
share a first question, so no two examples share a completion by chance.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

SEED = 20261122
ROWS, FAIRS = 480, 5
CAPITALS = {
    "Argentina": "Buenos Aires", "Austria": "Vienna", "Belgium": "Brussels", "Canada": "Ottawa", "Chile": "Santiago",
    "China": "Beijing", "Cuba": "Havana", "Denmark": "Copenhagen", "Egypt": "Cairo", "Finland": "Helsinki",
    "France": "Paris", "Germany": "Berlin", "Greece": "Athens", "Hungary": "Budapest", "India": "New Delhi",
    "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin", "Italy": "Rome", "Japan": "Tokyo", "Kenya": "Nairobi",
    "Norway": "Oslo", "Peru": "Lima", "Poland": "Warsaw", "Portugal": "Lisbon", "Russia": "Moscow",
    "South Korea": "Seoul", "Spain": "Madrid", "Sweden": "Stockholm", "Thailand": "Bangkok", "Turkey": "Ankara",
    "Vietnam": "Hanoi",
}  # fmt: skip
PEOPLE = (
    "Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jill", "Kai", "Lena", "Max", "Nora", "Otto",
    "Pia", "Ruth", "Sam", "Tess", "Udo",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def row(rng: random.Random, number: int, person: str, country: str) -> dict[str, object]:
    """One example: the fairs of five capitals, the traveller's among them, each on another day."""
    others = rng.sample([name for name in CAPITALS if name != country], FAIRS - 1)
    cities = [CAPITALS[name] for name in (country, *others)]
    days = rng.sample(DAYS, FAIRS)
    fairs = [f"The fair in {city} is on {day}." for city, day in zip(cities, days, strict=True)]
    rng.shuffle(fairs)
    return {"id": f"trip-{number:03}", "person": person, "country": country, "fairs": fairs, "day": days[0]}


def main() -> None:
    """Write the file beside this script."""
    rng = random.Random(SEED)
    trips = [(person, country) for person in PEOPLE for country in CAPITALS]
    rows = [row(rng, number, *trip) for number, trip in enumerate(rng.sample(trips, ROWS))]
    path = Path(__file__).parent / "facts.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
