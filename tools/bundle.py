"""Stage: explaining. In: the libraries that ``tools/bundle/package-lock.json`` names. Out: all of them in one file,
``minigrad/explain/page.libraries.js``, with their licenses. ``python tools/bundle.py`` makes it again; it needs npm and
its registry. To take newer versions: change ``package.json``, run ``npm update`` in a copy of that folder, and bring
its lock file back. Next: ``minigrad/explain/page.py``."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tools" / "bundle"
BUNDLE = ROOT / "minigrad" / "explain" / "page.libraries.js"


def packages() -> list[tuple[str, str, str]]:
    """Name, version and license of each library that comes along.

    >>> ("d3-zoom", "3.0.0", "ISC") in packages()
    True
    """
    lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    return [(path.rpartition("node_modules/")[2], entry["version"], entry["license"])
            for path, entry in lock["packages"].items() if path and not entry.get("dev")]


def bundle() -> str:
    """The file."""
    with tempfile.TemporaryDirectory() as folder:
        for file in FOLDER.iterdir():
            shutil.copy(file, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        made = subprocess.run(["npx", "esbuild", "entry.js", "--bundle", "--minify", "--format=iife",
                               "--global-name=libraries", "--target=es2022"],
                              cwd=folder, check=True, capture_output=True, text=True).stdout
        licenses: dict[str, list[str]] = {}
        for name, version, _ in packages():
            text = (Path(folder) / "node_modules" / name / "LICENSE").read_text(encoding="utf-8").strip()
            licenses.setdefault(text, []).append(f"{name} {version}")
    head = "\n\n".join([f"{', '.join(names)}\n\n{text}" for text, names in licenses.items()])
    return f"/*\nMade by tools/bundle.py of these libraries:\n\n{head}\n*/\n{made}"


if __name__ == "__main__":
    BUNDLE.write_text(bundle(), encoding="utf-8")
    print(f"{BUNDLE.relative_to(ROOT)}: {BUNDLE.stat().st_size >> 10} KB")
