"""`python -m stcodec`."""

from stcodec.terminal.cli import main

if __name__ == "__main__":
    main()
