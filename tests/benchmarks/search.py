"""What each strategy costs and finds: `python tests/benchmarks/search.py [--part simulated|real]`.

The simulated part is done by `search_table.py`, on the machines of `search_law.py`, in a minute or
two; the real one by `search_real.py`, on llama.cpp, in about ten. With `--json`, one document each.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from benchmarks import search_real, search_table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--part", choices=["simulated", "real"])
    chosen, rest = parser.parse_known_args()
    if chosen.part != "real":
        search_table.main(rest)
    if chosen.part is None:
        print()
    if chosen.part != "simulated":
        search_real.main([word for word in rest if chosen.part or word == "--json"])
