"""The commands, one file each: click wiring only. `cli.py` lists them."""
