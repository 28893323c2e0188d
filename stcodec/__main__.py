"""`python -m stcodec`."""

from stcodec.cli import main

if __name__ == "__main__":
    main()
