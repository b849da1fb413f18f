"""The data of the demo: Wisconsin Diagnostic Breast Cancer, 569 tumours, 30 features each.

W. Wolberg, O. Mangasarian, N. Street and W. Street (1993), UCI Machine Learning Repository,
https://doi.org/10.24432/C5DW2B, licence CC BY 4.0. The file is the repository's, with the label last
(1 benign, 0 malignant); its first line names source and licence.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def load() -> tuple[Array, Array]:
    """Standardised features with an intercept in front, float64[569, 31], and labels, float64[569]."""
    with files(__package__).joinpath("wdbc.csv").open() as lines:
        table = np.loadtxt(lines, delimiter=",", skiprows=2)
    features, labels = table[:, :-1], table[:, -1]
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    return np.hstack([np.ones((len(table), 1)), standard]), labels.copy()
