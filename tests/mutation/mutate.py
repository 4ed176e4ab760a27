"""A pytest plugin that changes one place of one module while it is imported.

`MUTANT` holds a JSON list: module, text to replace (which must stand there once), replacement.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys


class Mutating(importlib.machinery.SourceFileLoader):
    """Loads a module with its change."""

    def source_to_code(self, data, path, *, _optimize=-1):
        _, old, new = json.loads(os.environ["MUTANT"])
        text = bytes(data).decode()
        if text.count(old) != 1:
            raise RuntimeError(f"{path} holds {old!r} {text.count(old)} times, not once")
        return compile(text.replace(old, new), path, "exec")

    def get_code(self, fullname):
        """Never from a cache of compiled files."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the module to change, and leaves all others alone."""

    def find_spec(self, name, path, target=None):
        if name != json.loads(os.environ["MUTANT"])[0]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        spec.loader = Mutating(name, spec.origin)
        return spec


if os.environ.get("MUTANT"):
    sys.meta_path.insert(0, Finder())
