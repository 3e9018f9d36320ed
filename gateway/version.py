"""The version of this installation, from the package's own metadata."""

from importlib.metadata import version

VERSION = version("comporta")
