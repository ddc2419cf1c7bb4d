"""`python -m lmstrix` is the command `lmstrix`."""

from lmstrix.cli import main

if __name__ == "__main__":
    main()
