"""Converted networks in fastsnn beside the same networks in every other way to run them: `make peers`."""
