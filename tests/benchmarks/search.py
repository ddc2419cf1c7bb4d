"""What each strategy costs and finds: `python tests/benchmarks/search.py [--runs N] [--json]`.

The work is done by `search_table.py`, on the machines of `search_law.py`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it
    from benchmarks.search_table import main

    main(sys.argv[1:])
