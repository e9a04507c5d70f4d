"""The command line: what each word does, and that each mistake gets one line and exit code 2."""

import subprocess
import sys

import pytest
import torch

import gaussflow
from gaussflow.apps.table import read_table, write_table
from gaussflow.cli import main

NAMES = ["height", "weight", "age"]


def rows(count, seed=0):
    """Three columns of different units: two correlated, one skewed."""
    noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    height = 1.7 + 0.1 * noise[:, 0]
    return torch.stack([height, 22 * height**2 + 5 * noise[:, 1], 40 * (0.3 * noise[:, 2]).exp()], 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table and a model fitted to it by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    write_table(folder / "table.csv", NAMES, rows(400).tolist())
    assert main(["fit", str(folder / "table.csv"), "--out", str(folder / "model"), "--quiet"]) == 0
    return folder


@pytest.fixture
def at(folder, monkeypatch):
    """Work in that folder."""
    monkeypatch.chdir(folder)
    return folder


def fails(capsys, *words, code=2):
    """Run the command line, see that it says one line and leaves with that code, and return the line."""
    try:
        got = main(list(words))
    except SystemExit as stop:
        got = stop.code
    said = capsys.readouterr()
    assert got == code
    assert said.out == ""
    assert said.err.startswith("gaussflow: ")
    assert said.err.count("\n") == 1
    return said.err


def test_score_is_the_exact_log_density_in_raw_units(at, capsys):
    assert main(["score", "model", "table.csv", "--out", "scores.csv"]) == 0
    table, scores = read_table("table.csv"), read_table("scores.csv").values[:, 0]
    flow = gaussflow.load("model")
    with torch.no_grad():
        exact = flow.log_prob(table.values.to(next(flow.buffers()).dtype)).double()
    torch.testing.assert_close(scores, exact, rtol=1e-8, atol=1e-8)
    said = capsys.readouterr().out
    error = exact.std().item() / 20
    assert f"log-density {exact.mean().item():.4f} ± {error:.4f} nats per row over 400 rows" in said
    assert f"lowest {exact.min().item():.4f} in row {int(exact.argmin()) + 1}" in said


def test_score_follows_the_units_of_the_columns(at, capsys):
    """A table in other units is another density: each row moves by the log of the change of unit."""
    table = read_table("table.csv")
    write_table("centimetres.csv", NAMES, (table.values * torch.tensor([100.0, 1.0, 1.0]).double()).tolist())
    assert main(["fit", "centimetres.csv", "--out", "centimetres", "--quiet"]) == 0
    with torch.no_grad():
        metres = gaussflow.load("model").log_prob(table.values)
        centimetres = gaussflow.load("centimetres").log_prob(read_table("centimetres.csv").values)
    shift = (metres - centimetres).mean().item()
    assert abs(shift - torch.tensor(100.0).log().item()) < 0.02


def test_columns_are_matched_by_name(at, capsys):
    table = read_table("table.csv")
    write_table("turned.csv", NAMES[::-1], table.values.flip(1).tolist())
    main(["score", "model", "table.csv"])
    first = capsys.readouterr().out
    main(["score", "model", "turned.csv"])
    assert capsys.readouterr().out == first


def test_rows_left_out_have_no_score(at, capsys):
    (at / "holes.csv").write_text("height,weight,age\n1.7,60,40\n,70,40\n1.8,80,20\n")
    assert "--drop-missing" in fails(capsys, "score", "model", "holes.csv")
    assert main(["score", "model", "holes.csv", "--drop-missing", "--out", "holes.scores"]) == 0
    lines = (at / "holes.scores").read_text().splitlines()
    assert lines[0] == "log_density"
    assert lines[2] == '""'
    assert float(lines[1]) > float(lines[3]) - 50
    assert len(lines) == 4


def test_columns_dropped_at_the_fit_may_stand_in_later_tables(at, capsys):
    lines = (at / "table.csv").read_text().splitlines()
    text = "\n".join(f"{line},{'name' if i == 0 else 'someone'}" for i, line in enumerate(lines))
    (at / "named.csv").write_text(text)
    assert "--drop name" in fails(capsys, "fit", "named.csv", "--out", "named")
    assert main(["fit", "named.csv", "--drop", "name", "--out", "named", "--quiet"]) == 0
    assert main(["score", "named", "named.csv"]) == 0
    assert main(["score", "named", "table.csv"]) == 0
    capsys.readouterr()
    assert "column 'name'" in fails(capsys, "score", "model", "named.csv")


def test_samples_look_like_the_data_and_follow_the_seed(at):
    for name in ("one.csv", "two.csv"):
        assert main(["sample", "model", "-n", "3000", "--seed", "5", "--out", name]) == 0
    assert main(["sample", "model", "-n", "3000", "--seed", "6", "--out", "three.csv"]) == 0
    one, two, three = (read_table(f"{name}.csv") for name in ("one", "two", "three"))
    assert one.names == tuple(NAMES)
    assert torch.equal(one.values, two.values)
    assert not torch.equal(one.values, three.values)
    data = rows(3000, seed=1)
    scale = data.std(0)
    assert ((one.values.mean(0) - data.mean(0)).abs() < 0.25 * scale).all()
    assert ((one.values.std(0) / scale - 1).abs() < 0.25).all()
    assert (torch.corrcoef(one.values.T) - torch.corrcoef(data.T)).abs().max() < 0.2


def test_fit_is_the_same_for_the_same_seed(at):
    for name in ("again", "more"):
        assert main(["fit", "table.csv", "--out", name, "--quiet", "--max-blocks", "2", "--rotation", "haar"]) == 0
    states = [gaussflow.load(name).state_dict() for name in ("again", "more")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("rotation", ["haar", "hadamard", "ica", "pca", "whitening"])
def test_every_rotation_fits(at, rotation, capsys):
    assert main(["fit", "table.csv", "--out", rotation, "--rotation", rotation, "--max-blocks", "2", "--quiet"]) == 0
    assert "nats per row; saved as" in capsys.readouterr().out


def test_outputs_are_not_overwritten_unasked(at, capsys):
    (at / "kept.csv").write_text("kept")
    assert "kept.csv exists" in fails(capsys, "score", "model", "table.csv", "--out", "kept.csv")
    assert "kept.csv exists" in fails(capsys, "sample", "model", "-n", "3", "--out", "kept.csv")
    assert "kept.csv exists" in fails(capsys, "fit", "table.csv", "--out", "kept.csv")
    assert (at / "kept.csv").read_text() == "kept"
    assert main(["sample", "model", "-n", "3", "--out", "kept.csv", "--force"]) == 0
    assert len(read_table("kept.csv").values) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "table.csv", "--out", "table.csv", "--force"],
        ["fit", "table.csv", "--out", "./table.csv", "--force"],
        ["score", "model", "table.csv", "--out", "table.csv", "--force"],
        ["score", "model", "table.csv", "--out", "model", "--force"],
        ["sample", "model", "-n", "3", "--out", "model", "--force"],
    ],
)
def test_inputs_are_never_overwritten(at, words, capsys):
    before = (at / "table.csv").read_bytes(), (at / "model").read_bytes()
    assert "is an input" in fails(capsys, *words)
    assert ((at / "table.csv").read_bytes(), (at / "model").read_bytes()) == before


MISTAKES = {
    "no word": ([], "required"),
    "unknown word": (["fly"], "invalid choice: 'fly'"),
    "no table": (["fit", "--out", "m"], "table"),
    "no such table": (["fit", "absent.csv", "--out", "m"], "absent.csv: No such file"),
    "table is a folder": (["fit", ".", "--out", "m"], "Is a directory"),
    "no such model": (["score", "absent", "table.csv"], "no model at absent"),
    "model is a table": (["score", "table.csv", "table.csv"], "table.csv is no gaussflow model"),
    "model of something else": (["score", "plain", "table.csv"], "not one of a table"),
    "no folder": (["fit", "table.csv", "--out", "absent/m"], "no folder absent"),
    "output is a folder": (["sample", "model", "-n", "3", "--out", "."], "is a folder"),
    "no rows wanted": (["sample", "model", "-n", "0", "--out", "m"], "-n wants a number of at least 1; got 0"),
    "no threads": (["fit", "table.csv", "--out", "m", "--threads", "0"], "--threads wants a number of at least 1"),
    "rows no number": (["sample", "model", "-n", "many", "--out", "m"], "invalid int value: 'many'"),
    "unknown rotation": (["fit", "table.csv", "--out", "m", "--rotation", "left"], "invalid choice: 'left'"),
    "no blocks": (["fit", "table.csv", "--out", "m", "--max-blocks", "-1"], "-1"),
    "unknown column to drop": (
        ["fit", "table.csv", "--out", "m", "--drop", "size"],
        "table.csv: there is no column 'size'",
    ),
    "constant column": (["fit", "constant.csv", "--out", "m"], "constant.csv: a constant has no density: column 'b'"),
    "one row": (["fit", "one_row.csv", "--out", "m"], "one_row.csv: a density wants many rows; the table has 1"),
    "other columns": (["score", "model", "constant.csv"], "constant.csv: it lacks columns 'height', 'weight', 'age'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line(at, name, capsys):
    words, wanted = MISTAKES[name]
    (at / "constant.csv").write_text("a,b\n1,7\n2,7\n3,7\n")
    (at / "one_row.csv").write_text("a,b\n1,7\n")
    gaussflow.save(gaussflow.Flow(gaussflow.Standardize(3)), at / "plain")
    assert wanted in fails(capsys, *words)
    assert not (at / "m").exists()


def test_doubtful_columns_are_remarked_upon(at, capsys):
    table = read_table("table.csv")
    held = torch.cat([table.values, (table.values[:, :1] > 1.7).double()], 1)
    write_table("tied.csv", [*NAMES, "tall"], held.tolist())
    assert main(["fit", "tied.csv", "--out", "tied", "--quiet", "--max-blocks", "1"]) == 0
    said = capsys.readouterr().err
    assert "gaussflow: note: one value repeats often in 'tall'" in said


def test_a_discrete_column_is_refused_in_the_words_of_the_command_line(at, capsys):
    table = torch.cat([rows(200), rows(200, 1)[:, :1].mul(20).round()], 1)
    write_table("rounded.csv", [*NAMES, "shoe"], table.tolist())
    words = ["fit", "rounded.csv", "--out", "rounded", "--recipe", "hybrid", "--quiet"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "Pass --dequantize to blur such columns" in said
    assert "True" not in said
    assert main([*words, "--dequantize"]) == 0
    assert "nats per row; saved as rounded" in capsys.readouterr().out


def run(*words, **options):
    return subprocess.Popen([sys.executable, "-m", "gaussflow", *words], stderr=subprocess.PIPE, text=True, **options)


def test_as_a_process(at):
    with run("--version", stdout=subprocess.PIPE) as done:
        out, err = done.communicate()
    assert (done.returncode, out, err) == (0, f"gaussflow {gaussflow.__version__}\n", "")
    with run("score", "absent", "table.csv") as done:
        _, err = done.communicate()
    assert done.returncode == 2
    assert err.count("\n") == 1


def test_interrupted_it_stops_with_one_line(at, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("gaussflow.cli._tables.rbig", interrupt)
    assert fails(capsys, "fit", "table.csv", "--out", "never", code=130) == "gaussflow: stopped.\n"
    assert not (at / "never").exists()


def test_a_reader_that_leaves_is_no_error(at):
    with run("score", "model", "table.csv", stdout=subprocess.PIPE) as done:
        done.stdout.close()
        err = done.stderr.read()
    assert done.returncode == 0
    assert err == ""


def test_the_demo_says_what_it_lacks(at, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tabulate", None)
    assert "pip install 'gaussflow[tabular]'" in fails(capsys, "demo", "--out", "pictures")
