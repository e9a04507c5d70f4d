"""The report on synthetic tables: what is wrong is found, what is chance is not, and the page stands alone."""

import html.parser
import json
import re

import numpy as np
import pytest

from tables import mixed, patients

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from gaussflow.apps.tabular import TableSynthesizer, compare_tables  # noqa: E402
from gaussflow.apps.tabular.report._beside import Kind, alike, figure  # noqa: E402
from gaussflow.apps.tabular.report._exposure import nearer_share  # noqa: E402
from gaussflow.apps.tabular.report._likeness import check_column, suggest_target  # noqa: E402


@pytest.fixture(scope="module")
def thirds():
    df = patients(n=560)
    return [df.iloc[k::3].reset_index(drop=True) for k in range(3)]


def words(findings):
    return [finding.word for finding in findings]


def test_fresh_rows_are_called_good(thirds):
    train, held, fresh = thirds
    report = compare_tables(train, fresh, held)
    assert set(words(report.likeness)) == {"good"}
    assert set(words(report.privacy)) == {"good"}
    assert report.boosted.area < 0.6
    assert abs(report.learnt.gap) < 0.03
    assert report.exposure.copies.value == 0
    assert report.learnt.target == "class"


def test_copies_are_found_in_every_way(thirds):
    train, held, _ = thirds
    report = compare_tables(train, train.sample(frac=1, random_state=0), held)
    found = report.exposure
    assert found.nearer.value == 1
    assert found.member.value > 0.95
    assert found.copies.value == 1
    assert found.again > found.again_by_chance + 0.5
    assert words(report.privacy) == ["a concern"] * 4
    alone = compare_tables(train, train)
    assert alone.exposure.crowded.value == 1
    assert words(alone.privacy) == ["cannot say", "look closer", "a concern", "cannot say"]
    assert "No real rows were kept from the fit" in alone.html()


def test_what_differs_is_named(thirds):
    train, held, fresh = thirds
    wrong = fresh.assign(
        radius=fresh["radius"].sample(frac=1, random_state=0).to_numpy(),
        texture=fresh["texture"] * 1.2,
        symmetry=fresh["symmetry"].fillna(0.2),
    )
    report = compare_tables(train, wrong, held)
    columns, gaps, pairs, told, _ = report.likeness
    assert "texture" in columns.text
    assert columns.word == "a concern"
    assert "symmetry" in gaps.text
    assert pairs.word in ("look closer", "a concern")
    assert "radius" in pairs.text
    assert "radius" in [name for name, _ in report.boosted.by] or "area" in [name for name, _ in report.boosted.by]
    assert told.word == "a concern"


def test_what_lies_outside_is_told():
    df = pd.DataFrame({"x": np.arange(40.0), "kind": ["a", "b"] * 20})
    report = compare_tables(df, df.assign(x=df["x"] + 10, kind=["a", "c"] * 20), df)
    assert [check.outside for check in report.columns] == [0.25, 0.5]
    assert "outside the range of the real rows come up in x, kind" in report.likeness[0].text


def test_labels_at_random_teach_nothing(thirds):
    train, held, fresh = thirds
    report = compare_tables(
        train, fresh.assign(**{"class": fresh["class"].sample(frac=1, random_state=1).to_numpy()}), held, target="class"
    )
    assert report.learnt.gap > 0.2
    assert report.likeness[-1].word == "a concern"
    assert not report.learnt.suggested


def test_rows_held_out_tell_memory_from_likeness():
    """A table of few common rows has copies by chance, and they are no concern."""
    random = np.random.default_rng(0)
    parts = [pd.DataFrame(random.integers(0, 3, (200, 3)), columns=list("abc")) for _ in range(3)]
    report = compare_tables(*parts)
    assert report.exposure.copies.value > 0.9
    assert report.exposure.copies_by_chance.value > 0.9
    assert "a concern" not in words(report.privacy)


def test_rare_combinations_that_come_again_are_found():
    random = np.random.default_rng(1)
    make = lambda: pd.DataFrame({"ward": random.integers(0, 40, 300), "code": random.integers(0, 40, 300)}).astype(  # noqa: E731
        "category"
    )
    train, held, drawn = make(), make(), make()
    fine = compare_tables(train, drawn, held).exposure
    assert abs(fine.again_excess.value) < 3 * fine.again_excess.error
    leaky = pd.concat([drawn[:200], train[:100]], ignore_index=True)
    found = compare_tables(train, leaky, held)
    assert found.exposure.again_excess.value > 0.2
    assert found.privacy[-1].word == "a concern"
    assert compare_tables(pd.concat([train, train], ignore_index=True), drawn, held).exposure.alone == 0


def test_the_error_of_nearness_is_right():
    """Among 200 tables of fresh rows the share strays from a half by its standard error."""
    strays = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        fitted, held, drawn = (random.normal(size=(n, 3)) for n in (60, 60, 90))
        share = nearer_share(drawn, fitted, held)
        strays.append((share.value - 0.5) / share.error)
    assert abs(np.mean(strays)) < 0.2
    assert 0.85 < np.std(strays) < 1.15


@pytest.mark.parametrize("kind", ["number", "category"])
def test_chance_is_what_it_is_called(kind):
    """Of two samples of one law, about one in twenty differs by more than chance."""
    beyond = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        draw = random.normal if kind == "number" else lambda size, r=random: r.integers(0, 5, size).astype(float)
        check = check_column(Kind("x", kind, list("abcde"), 5), draw(size=150), draw(size=90), seed)
        beyond += check.apart > check.chance
    assert 0.015 < beyond / 300 < 0.085


def test_every_kind_of_column_is_reported():
    real, drawn = mixed(150, 0), mixed(150, 1)
    report = compare_tables(real, drawn)
    kinds = {str(check.name): check.kind for check in report.columns}
    assert [kinds[name] for name in ("date", "span", "bool", "7", "int8", "nothing")] == [
        *("time", "span", "category", "category", "number", "number")
    ]
    page = report.html()
    assert "about 20" in page
    assert "days" in page
    json.dumps(report.as_dict())
    assert str(report).startswith("150 synthetic rows beside 150 real ones, 20 columns\nlikeness:")


class Reader(html.parser.HTMLParser):
    """Collects open tags that are not closed, images, and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.addresses, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        if tag == "img":
            self.images.append(held)
        if tag not in ("img", "meta"):
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe")
        self.addresses += [value for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone(tmp_path, thirds):
    train, held, fresh = (part.rename(columns={"radius": "<b>&$radius$"}) for part in thirds)
    levels = {"malignant": "<script>alert(1)</script>"}
    train, held, fresh = (p.assign(**{"class": p["class"].cat.rename_categories(levels)}) for p in (train, held, fresh))
    path = compare_tables(train, fresh, held).save(tmp_path / "report.html")
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    assert len(reader.images) > len(train.columns)
    assert all(len(image["alt"]) > 20 for image in reader.images)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in reader.addresses)
    assert "<b>&$radius$" in "".join(reader.text)
    assert "url(" not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 2e6
    assert len(list(tmp_path.iterdir())) == 1


def test_few_rows_are_owned_to():
    df = patients(n=24)
    report = compare_tables(df[:8], df[8:16], df[16:])
    assert report.boosted is None
    assert report.exposure.nearer is None
    assert words(report.likeness).count("cannot say") >= 2
    assert "too few" in report.html()
    assert compare_tables(df[:2], df[2:4]).html().endswith("</html>\n")


def test_a_model_adds_its_log_probabilities(thirds):
    train, held, _ = thirds
    model = TableSynthesizer().fit(train)
    report = model.report(train, model.sample(150), held)
    assert report.nats == pytest.approx((model.score(train), model.score(held)))
    assert "nats a row" in report.html()
    assert TableSynthesizer().report(train, held).nats is None
    assert model.report(train.astype({"area": float}), held).nats is None


def test_the_same_twice(thirds):
    parts = [part[["radius", "class"]] for part in thirds]
    again = [parts[0], parts[2][["class", "radius"]], parts[1]]
    assert compare_tables(parts[0], parts[2], parts[1]).html() == compare_tables(*again).html()


def test_a_target_is_suggested():
    kinds = [Kind("id", "number", []), Kind("sick", "category", ["no", "yes"], 2), Kind("size", "number", [])]
    random = np.random.default_rng(0)
    x = np.column_stack([np.arange(90), random.integers(0, 2, 90), random.normal(size=90)]).astype(float)
    assert suggest_target(kinds, x) == 1
    x[:, 1] = 0
    assert suggest_target(kinds, x) == 2
    assert suggest_target(kinds, np.zeros((9, 3))) == -1


def test_rows_are_equal_gaps_included():
    a = np.array([[1.0, np.nan], [2.0, 0.0], [1.0, 0.0]])
    assert alike(a, np.array([[1.0, np.nan], [2.0, -0.0]])).tolist() == [True, True, False]
    assert [figure(v) for v in (0, 12, 0.1234, -3.456, 123456, 1e-9, 2.5e12)] == [
        *("0", "12", "0.123", "−3.46", "123,456", "1.00e−09", "2.50e+12")
    ]


MISTAKES = {
    "no frame": (lambda df: (df, df.to_numpy(), None), TypeError, "takes a pandas.DataFrame; got ndarray"),
    "one row": (lambda df: (df, df[:1], None), ValueError, "at least 2 rows of each; got 1 as synthetic"),
    "no held out": (lambda df: (df, df, df[:0]), ValueError, "at least 2 rows of each; got 0 as held_out"),
    "lacks": (lambda df: (df, df.drop(columns="area"), None), ValueError, "synthetic lacks 'area'"),
    "extra": (lambda df: (df, df.assign(b=1), None), ValueError, "synthetic has 'b' too. Leave them out"),
    "kinds": (
        lambda df: (df, df.assign(area="big"), None),
        TypeError,
        "column 'area' of one kind in each frame; got int64, ",
    ),
    "infinite": (
        lambda df: (df, df.assign(texture=np.inf), None),
        ValueError,
        "finite numbers or missing ones; got inf",
    ),
    "complex": (lambda df: (df.assign(area=1j), df, None), TypeError, "got column 'area' of complex128"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name):
    make, error, wanted = MISTAKES[name]
    with pytest.raises(error, match=re.escape(wanted)):
        compare_tables(*make(patients(n=40)))


def test_wrong_options_are_explained():
    df = patients(n=40)
    with pytest.raises(ValueError, match="target 'b', which is no column; it has 'radius'"):
        compare_tables(df, df, target="b")
    with pytest.raises(ValueError, match="an integer of at least 0 as random_state; got -1"):
        compare_tables(df, df, random_state=-1)
