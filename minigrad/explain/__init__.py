"""Stage: explaining. In: a block of a program, or a program. Out: an HTML page that shows which of its lines became
which kernels, how long those took and what they consist of: ``with minigrad.explain("page.html"):``, or
``python -m minigrad.explain script.py``. The package is called like the function; it is imported when it is first
asked for.
Next: ``model.py``.

>>> import minigrad, tempfile, pathlib
>>> x = minigrad.ones(1000)
>>> with tempfile.TemporaryDirectory() as folder:
...     with minigrad.explain(pathlib.Path(folder) / "page.html") as explained:
...         total = (x * 2 + 1).sum().item()
>>> [kernel.name for kernel in explained.report.kernels]
['sum_scalar']
"""

import sys
from types import ModuleType
from typing import Any

from minigrad.explain.block import Explained, explain
from minigrad.explain.model import Report

__all__ = ["Explained", "Report", "explain"]


class _Package(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return explain(*args, **options)


sys.modules[__name__].__class__ = _Package
