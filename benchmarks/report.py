"""placeholder"""
from __future__ import annotations
from pathlib import Path
def write(results: Path) -> str:
    return str(results)
