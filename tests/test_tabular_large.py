"""Files of more rows than are learnt from: what is rare in them is kept, and weighed so that sums stay right."""

import numpy as np
import pytest

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from gaussflow.apps.tabular import TableSynthesizer  # noqa: E402
from gaussflow.apps.tabular.frames import _files, _tally  # noqa: E402
from gaussflow.apps.tabular.frames._files import read_frame  # noqa: E402
from gaussflow.apps.tabular.frames._large import drawn_frame  # noqa: E402
from gaussflow.apps.tabular.frames._tally import Tally, standing_out  # noqa: E402
from gaussflow.cli import main  # noqa: E402

N, MOST, PART = 20_000, 2000, 1500


def table(seed, n=N):
    """Columns of all kinds, each with something rare: a level, a gap, a number that repeats, an end of the range."""
    random = np.random.default_rng(seed)
    ward = random.choice(["A", "B", "C"], n, p=[0.5, 0.3, 0.2]).astype(object)
    ward[random.permutation(n)[:20]] = "Z"
    age = random.normal(50, 10, n).round()
    age[random.integers(n)] = 120
    size = (random.gamma(3, 2, n) + 5 * (ward == "B")).round(4)
    size[random.permutation(n)[:12]] = 20.5
    gone = np.where(random.random(n) < 0.001, np.nan, random.normal(size=n).round(5))
    sick = random.random(n) < np.where(ward == "A", 0.6, 0.1)
    day = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(random.integers(0, 1000, n), unit="D")
    day = pandas.Series(day).where(np.arange(n) != n // 2, pandas.Timestamp("2031-05-17"))
    return pandas.DataFrame(
        {
            "ward": ward,
            "age": age.astype(int),
            "size": size,
            "gone": gone,
            "sick": np.where(sick, "yes", "no"),
            "day": day,
        }
    )


def as_cells(frame):
    """The frame as a CSV has it."""
    cells = {name: frame[name].astype(str).where(frame[name].notna(), "") for name in frame.columns}
    return pandas.DataFrame(cells).astype(object)


def parts_of(frame, size=PART):
    return lambda: (frame[k : k + size] for k in range(0, len(frame), size))


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("most_values", [50_000, 500])
def test_every_row_that_holds_what_is_rare_is_kept(typed, most_values, monkeypatch):
    """20 rows of a level, 20 or so gaps, the ends of ranges; a spike where the numbers can be counted."""
    monkeypatch.setattr(_tally, "MOST_VALUES", most_values)
    for seed in range(3):
        frame = table(seed)
        reading = drawn_frame(parts_of(frame if typed else as_cells(frame)), MOST, seed)
        assert reading.count == N
        assert reading.even.sum() == MOST
        assert len(reading.frame) < 1.2 * MOST
        held, sure = reading.frame, reading.chance == 1
        for name, cells in {"ward": ["Z"], "age": [120, frame["age"].min()], "size": [frame["size"].min()]}.items():
            whole = frame[name].isin(cells).sum()
            rows = held[name].isin(cells if typed else [str(cell) for cell in cells])
            assert rows.sum() == whole
            assert sure[rows].all()
        gaps = held["gone"].isna() if typed else held["gone"] == ""
        assert gaps.sum() == frame["gone"].isna().sum()
        latest = pandas.to_datetime(held["day"]) == pandas.Timestamp("2031-05-17")
        assert latest.sum() == 1
        spike = held["size"].astype(float) == 20.5
        assert most_values == 500 or spike.sum() == (frame["size"] == 20.5).sum()


def test_weighted_sums_have_those_of_all_rows_for_their_mean():
    """Mean of 40 draws within 4.5 of its own errors, of 11 sums, with a fifth held out and without."""
    frame = table(0).drop(columns="day")
    cells = frame.copy()
    statistics = pandas.DataFrame(
        {
            "rows": 1.0,
            **{level: frame["ward"] == level for level in "ABZ"},
            "gaps": frame["gone"].isna(),
            "spike": frame["size"] == 20.5,
            "size": frame["size"],
            "square": np.square(frame["age"]),
            "both": (frame["ward"] == "A") & (frame["sick"] == "yes"),
            "old": frame["age"] > 75,
            "Z and sick": (frame["ward"] == "Z") & (frame["sick"] == "yes"),
        }
    ).astype(float)
    cells["row"] = np.arange(N)
    for held_out in (0.0, 0.2):
        found = []
        for seed in range(40):
            reading = drawn_frame(parts_of(cells, N // 2), MOST, seed)
            even = np.flatnonzero(reading.even)
            held = np.random.default_rng(seed).permutation(even)[: round(held_out * MOST)]
            fitted = ~np.isin(np.arange(len(reading.frame)), held)
            weights = reading.weights(fitted, held_out)
            rows = reading.frame["row"].to_numpy()[fitted]
            found.append(weights @ statistics.to_numpy()[rows])
        mean, error = np.mean(found, 0), np.std(found, 0) / np.sqrt(40)
        assert (np.abs(mean - statistics.sum().to_numpy()) < 4.5 * error + 1e-6 * mean).all()
        assert (np.std(found, 0) < [400, 450, 450, 3, 3, 3, 2500, 2e6, 450, 60, 3]).all()


def test_one_row_written_otherwise_says_what_a_column_is(tmp_path, monkeypatch):
    """One decimal among integers, one date with a clock, one word: as if all rows had been looked at."""
    monkeypatch.setattr(_files, "CHUNK", PART)
    for most_values in (50_000, 100):
        monkeypatch.setattr(_tally, "MOST_VALUES", most_values)
        random = np.random.default_rng(0)
        whole = random.integers(1000, 9000, N).astype(str).astype(object)
        cells = pandas.DataFrame({name: whole.copy() for name in ("decimal", "word", "sign", "comma")})
        cells.loc[N // 3, "decimal"] = "1234.75"
        cells.loc[N // 4, "word"] = "<0.5"
        cells.loc[N // 5, "sign"] = "-7777"
        cells.loc[:, "comma"] = [f"{cell[0]},{cell[1:]}" for cell in whole]
        cells.loc[N // 6, "comma"] = "1,5"
        cells.to_csv(tmp_path / "t.csv", index=False)
        with pytest.warns(UserWarning, match="'word' is taken as text: 1 of its"):
            reading = read_frame(str(tmp_path / "t.csv"), most=MOST)
        assert reading.spellings["decimal"].kind == "number"
        assert reading.spellings["word"].kind == "text"
        assert reading.frame["sign"].min() == -7777
        assert reading.spellings["comma"].numbers.decimal == ","
        assert reading.frame["comma"].min() >= 1


def test_no_more_rows_are_kept_than_there_is_room_for():
    """5000 levels of 4 rows leave room for some of each; names of rows get none, whatever their number."""
    random = np.random.default_rng(0)
    level = np.repeat(np.arange(N // 4), 4).astype(str).astype(object)
    cells = pandas.DataFrame({"name": [f"n{k}" for k in range(N)], "level": random.permutation(level), "ward": "A"})
    cells.loc[random.permutation(N)[:25], "ward"] = "Z"
    reading = drawn_frame(parts_of(cells), MOST, 0)
    assert MOST + 20 < len(reading.frame) < MOST + 60
    assert (reading.frame["ward"] == "Z").sum() == 25
    few = drawn_frame(parts_of(cells[["ward"]].assign(level=np.arange(N).astype(str))), MOST, 0)
    assert MOST + 20 < len(few.frame) < MOST + 60
    some = [f"L{k % 100}" if k < 1000 else "most" for k in range(N)]  # 100 levels of 10 rows
    reading = drawn_frame(parts_of(pandas.DataFrame({"level": some, "other": some})), MOST, 0)
    assert 900 <= (reading.chance > 0.1).sum() <= 1000


def test_what_stands_out_is_told_from_the_tails_and_from_heaped_digits():
    counts = np.round(1000 * np.exp(-0.5 * np.square(np.linspace(-4, 4, 81))))
    assert not standing_out(counts).any()
    counts[3] = 40
    assert np.flatnonzero(standing_out(counts)).tolist() == [3]
    heaped = np.where(np.arange(100) % 5 == 0, 60.0, 8.0)
    assert not standing_out(heaped)[10:-10].any()


def test_cells_that_nothing_can_count_are_left_to_be_refused():
    tally = Tally()
    tally.add(pandas.Series([[1], [2]], dtype=object))
    assert tally.chances(0.1, 100) == {}
    empty = Tally()
    empty.add(pandas.Series(["", ""], dtype=object))
    empty.add(pandas.Series(["", "3"], dtype=object))
    assert empty.measure is not None
    assert empty.counts == {"": 3, "3": 1}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_law_of_a_large_file_has_what_is_rare_in_it(tmp_path, monkeypatch, kind):
    """A level of 20 rows of 20,000, gaps of 0.1 %, within a factor of 2 (an even draw has none to 3 times as many);

    the ends exactly; and how columns go together, within 5 standard errors.
    """
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(_files, "CHUNK", PART)
    path = str(tmp_path / f"t.{kind}")
    for seed in range(2):
        frame = table(seed)
        frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
        reading = read_frame(path, most=MOST, seed=seed)
        weights = reading.weights(np.ones(len(reading.frame), np.bool_), 0.0)
        model = TableSynthesizer(random_state=seed).fit(reading.frame, sample_weight=weights)
        drawn = model.sample(100_000, random_state=seed)
        assert 0.5 < (drawn["ward"] == "Z").mean() / (frame["ward"] == "Z").mean() < 2
        assert 0.5 < drawn["gone"].isna().mean() / frame["gone"].isna().mean() < 2
        ends = {c.name: (s.low, s.high) for c, s in zip(model.columns_, model.joint_.skeletons, strict=True)}
        assert ends["age"] == (frame["age"].min(), frame["age"].max())
        for level in "AB":
            real, made = (d.loc[d["ward"] == level, "sick"].eq("yes").mean() for d in (frame, drawn))
            assert abs(real - made) < 5 * np.sqrt(real / (0.3 * MOST))
        apart = [d["size"].groupby(d["ward"]).mean() for d in (frame, drawn)]
        assert abs((apart[0] - apart[1])["A"]) < 5 * 3.5 / np.sqrt(0.5 * MOST)
        assert abs((apart[0] - apart[1])["B"]) < 5 * 3.5 / np.sqrt(0.3 * MOST)


def test_the_command_holds_out_and_reports_on_even_rows_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = table(3, 4000)
    frame.to_csv("t.csv", index=False)
    seen = []
    fit = TableSynthesizer.fit

    def spy(self, df, y=None, sample_weight=None, **more):
        seen.append((df, sample_weight))
        return fit(self, df, y, sample_weight, **more)

    monkeypatch.setattr(TableSynthesizer, "fit", spy)
    words = ["synth", "t.csv", "--out", "new.csv", "--most", "1000", "--held-out", "0.2", "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr().out
    (fitted, weights), (held_out,) = seen[0], (200,)
    rare = len(fitted) - 800
    assert f"t.csv has 4000 rows; 1000, drawn evenly, and {rare} more that hold what is rare" in said
    assert f"fitted to {len(fitted)} rows; {held_out} kept from the fit" in said
    assert rare > 10
    assert weights.sum() == pytest.approx(4000, rel=0.02)
    assert (fitted["ward"] == "Z").sum() >= 14
    assert weights.max() == pytest.approx(1 / (0.25 - 0.05))
    assert len(pandas.read_csv("new.csv")) == 1000
