"""The picture of a report on synthetic tables: the page of a table of breast cancer, photographed by a browser.

Needs chromium or google-chrome; nothing is loaded from a network.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer

from common import IMAGES
from gaussflow.apps.tabular import TableSynthesizer

WIDTH, HEIGHT = 980, 810


def patients() -> pd.DataFrame:
    """A mixed table of 569 tumours: sizes in rounded units, zeros below a limit, a value missing for large ones."""
    data = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)
    return pd.DataFrame(
        {
            "radius": data["mean radius"].round(1),
            "area": data["mean area"].round().astype("int64"),
            "concavity": data["mean concavity"].where(data["mean concavity"] > 0.03, 0.0),
            "symmetry": data["mean symmetry"].where(data["mean radius"] < 17),
            "class": data["target"].map({0: "malignant", 1: "benign"}).astype("category"),
        }
    )


def main() -> None:
    """Fit, draw, compare, photograph."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("the picture of the report needs chromium or google-chrome")
    df = patients()
    train, held_out = df[:440], df[440:]
    model = TableSynthesizer().fit(train)
    with tempfile.TemporaryDirectory() as folder:
        page = model.report(train, model.sample(440), held_out).save(Path(folder) / "report.html")
        shot = Path(folder) / "shot.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
        size = f"--window-size={WIDTH},{HEIGHT}"
        subprocess.run(
            [browser, *options, size, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True
        )
        shutil.copy(shot, IMAGES / "table-report.png")


if __name__ == "__main__":
    main()
