# MuJoCo 3.17 ships compiled modules without types: everything in it is Any to pyright.
from typing import Any

def __getattr__(name: str) -> Any: ...
