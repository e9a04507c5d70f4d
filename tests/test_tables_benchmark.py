"""The comparison of synthetic tables: its measures tell copies from fresh rows, and its rivals keep the frame."""

import numpy as np
import pandas as pd
import pytest
from benchmarks.report import read as read_lines
from benchmarks.table_files import delimiter_of, read, target_of
from benchmarks.table_goals import shown
from benchmarks.table_rivals import plain, restored
from benchmarks.tables import METHODS, apart, cart, codes, features, frame_of, judge, main, measure
from sklearn.linear_model import LogisticRegression

from tables import patients


@pytest.fixture(scope="module")
def halves():
    df = patients(n=560)
    return [df.iloc[k::3].reset_index(drop=True) for k in range(3)]


def test_copies_are_found_and_fresh_rows_are_not(halves):
    train, held, fresh = halves
    copied, new = judge(train, train, held, "class", 0), judge(fresh, train, held, "class", 0)
    assert copied["copies"] == 1
    assert copied["nearer"] == 1
    assert copied["member"] > 0.9
    assert new["copies"] == 0
    assert abs(new["nearer"] - 0.5) < 0.12
    assert abs(new["member"] - 0.5) < 0.12
    assert abs(new["gap"]) < 0.05


def test_rows_that_are_wrong_are_told_apart(halves):
    train, held, _ = halves
    off = train.assign(
        radius=train["radius"].sample(frac=1, random_state=0).to_numpy()
    )  # sizes that do not go together
    assert judge(off, train, held, "class", 0)["boosted"] > 0.75
    moved = codes(held) + 3 * np.nanstd(codes(held), 0)
    filled = [np.nan_to_num(x) for x in (codes(held), moved)]
    assert apart(*filled, LogisticRegression(max_iter=2000), 0) > 0.9


def test_trees_keep_the_frame(halves):
    train = halves[0]
    drawn = cart(train, 0)[0](300, 1)
    assert drawn.dtypes.to_dict() == train.dtypes.to_dict()
    assert drawn["symmetry"].isna().mean() == pytest.approx(train["symmetry"].isna().mean(), abs=0.08)
    pd.testing.assert_frame_equal(frame_of(codes(train), train), train)
    assert np.isfinite(features(train, train)).all()


@pytest.mark.parametrize("method", [*METHODS, None])
def test_a_small_table_is_measured(method):
    scores = measure(patients(n=120), "class", method, 0)
    assert 0 <= scores["nearer"] <= 1
    assert 0 <= scores["boosted"] <= 1
    assert np.isfinite(scores["nats"]) == (method == "gaussflow")


def test_tables_of_a_folder_are_read_with_their_kinds(tmp_path):
    (tmp_path / "tables").mkdir()
    x = np.array([[0, 1.1, 3], [1, np.nan, 4], [np.nan, 2.3, 5]], dtype=np.float32)
    np.savez(tmp_path / "tables" / "small.npz", X=x, cols=["c", "d", "i"], cats='{"c": ["no", "yes"]}')
    frame = read("small", tmp_path)
    assert frame.dtypes.astype(str).to_dict() == {"c": "category", "d": "float64", "i": "int64"}
    assert frame["d"].tolist()[::2] == [1.1, 2.3]
    assert frame["c"].isna().tolist() == [False, False, True]
    with pytest.raises(SystemExit, match="say --data"):
        read("small", None)


def test_a_file_without_any_set_up_is_measured(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    rows = [
        f"P{k:04d};{k + 1};{31 - k % 30:02d}.01.2020;{60 + 10 * random.normal():.1f}".replace(".", ",", 0)
        + f";{random.choice(['yes', 'no'])};;{random.choice(['a', 'b', ''])};{1 + k % 9},{k % 10}"
        for k in range(90)
    ]
    text = "name;number;day;weight;smokes;nothing;ward;level\n" + "\n".join(rows) + "\n"
    (tmp_path / "stays.csv").write_text(text)
    frame = read("stays", tmp_path)
    assert "stays.csv: left out, since they name rows or hold nothing: name, number, nothing" in capsys.readouterr().out
    kinds = {"day": "int64", "weight": "float64", "smokes": "category", "ward": "category", "level": "float64"}
    assert frame.dtypes.astype(str).to_dict() == kinds
    assert target_of("stays", frame) == "smokes"
    assert target_of("stays", frame, "ward") == "ward"
    with pytest.raises(SystemExit, match="has no column 'sex'"):
        target_of("stays", frame, "sex")
    with pytest.raises(SystemExit, match="has no absent"):
        read("absent", tmp_path)
    words = ["tables", "--data", str(tmp_path), "--tables", "stays", "--seeds", "1", "--methods", "gaussflow", "CART"]
    monkeypatch.setattr("sys.argv", words)
    main()
    said = capsys.readouterr().out
    assert "stays CART 0: boosted" in said
    assert "| stays 90 × 5 |" in said
    assert "failed" not in said


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_what_parts_cells_is_found(sign, tmp_path):
    (tmp_path / "t").write_text(f"a{sign}b\n" + f"'1,2;3|4'{sign}2\n" * 9)
    assert delimiter_of(tmp_path / "t") == sign


def test_rivals_are_given_gaps_and_give_them_back(halves):
    train = halves[0]
    frame, texts = plain(train)
    assert not frame.isna().any().any()
    assert set(texts) == {"class", "grade", "symmetry is missing"}
    assert all(isinstance(value, str) for value in frame["symmetry is missing"])
    pd.testing.assert_frame_equal(restored(frame, train), train)
    wild = frame.assign(radius=frame["radius"] * 99 + 0.001)
    back = restored(wild, train)["radius"]
    assert back.max() == train["radius"].max()
    assert (back.round(1) == back).all()


def test_a_rival_that_is_absent_is_named(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.table_rivals.NEEDS", {"ARF": ("nosuchforest",)})
    monkeypatch.setattr("sys.argv", ["tables", "--methods", "ARF", "--seeds", "0"])
    main()
    assert "ARF is left out: pip install nosuchforest" in capsys.readouterr().out


def test_lines_are_kept_and_not_measured_again(tmp_path, monkeypatch, capsys):
    words = ["tables", "--methods", "copying", "--seeds", "1", "--out", str(tmp_path / "t.jsonl")]
    monkeypatch.setattr("sys.argv", words)
    main()
    lines = read_lines(tmp_path / "t.jsonl")
    assert [line["method"] for line in lines] == ["copying", "the rows held out"]
    assert {"commit", "machine", "versions", "nearer"} <= lines[0].keys()
    capsys.readouterr()
    main()
    assert read_lines(tmp_path / "t.jsonl") == lines
    monkeypatch.setattr("sys.argv", ["tables", "--show", str(tmp_path / "t.jsonl")])
    main()
    assert "| breast_cancer 569 × 31 |" in capsys.readouterr().out


def test_goals_are_met_or_missed():
    line = {"seed": 0, "rows": 9, "dim": 2, "nearer": 0.5, "member": 0.545, "logistic": 0.5, "gap": 0.0, "copies": 0.0}
    lines = [
        line | {"table": "pbc", "method": "gaussflow", "boosted": 0.57},
        line | {"table": "pbc", "method": "CART", "boosted": 0.55},
        line | {"table": "pbc", "method": "the rows held out", "boosted": float("nan"), "copies": None},
    ]
    text = shown(lines)
    assert "| pbc | 0.020 **missed** | 0.000 met | 0.000 met | 0.500 met | 0.545 **missed** |  |" in text
    assert "mean of the mixed tables, at most 0.58: 0.570 met." in text
    assert "nan" not in text
