"""Search spaces: YAML that means what people expect, errors with their place, plans of the paper's studies."""

import pytest

from asc_sweeps.errors import ConfigError
from asc_sweeps.settings import Setting
from asc_sweeps.space import load_space, read_scalar, shipped_spaces


@pytest.fixture
def space_of(tmp_path):
    def load(text, mini=False):
        (tmp_path / "my.yaml").write_text(text)
        return load_space(str(tmp_path / "my.yaml"), mini)

    return load


@pytest.fixture
def problems_of(space_of):
    def read(text, mini=False):
        with pytest.raises(ConfigError) as caught:
            space_of(text, mini).trials()
        return caught.value.problems

    return read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5E+2", 150.0),
        (".5", 0.5),
        ("-7", -7),
        ("010", 10),
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2022-05-01", "2022-05-01"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("'5'", "5"),
        ("[1, 2.0]", [1, 2.0]),
    ],
)
def test_yaml_values_mean_what_people_expect(text, value):
    read = read_scalar(text)
    assert read == value
    assert type(read) is type(value)


def test_a_grid_is_the_product_of_its_axes_with_every_seed(space_of):
    space = space_of("study: s\ngrid:\n  model.width: [40, 48]\n  model.mfa: [true, false]\nseeds: [0, 5]\n")
    trials = space.trials()
    assert {(t.model.width, t.model.mfa, t.seed) for t in trials} == {
        (w, m, s) for w in (40, 48) for m in (True, False) for s in (0, 5)
    }


def test_a_list_of_grids_is_their_sum_and_equal_trials_count_once(space_of):
    space = space_of("study: s\ngrid:\n  - model.width: [40, 48]\n  - model.width: 48\n    model.fpm: [true, false]\n")
    assert [(t.model.width, t.model.fpm) for t in space.trials()] == [(40, True), (48, True), (48, False)]


def test_groups_may_be_nested_or_dotted(space_of):
    nested = space_of("study: s\nsettings:\n  model:\n    mfa: false\ngrid:\n  finetune: {max_drop_rate: [0.5]}\n")
    dotted = space_of("study: s\nsettings:\n  model.mfa: false\ngrid:\n  finetune.max_drop_rate: 0.5\n")
    assert nested.trials() == dotted.trials()


def test_overrides_win_over_the_file(space_of):
    (trial,) = space_of("study: s\nsettings:\n  seed: 1\ngrid:\n  model.width: [40, 48]\n").trials(
        [Setting("model.width", 56)]
    )
    assert trial.model.width == 56


def test_all_mistakes_of_a_file_are_told_with_line_and_column(problems_of):
    problems = problems_of(
        "study: s\nsead: 3\nsettings:\n  finetune.max_drop_rat: 0.5\n  pretrain.epochs: 0\ngrid:\n  model.widht: [40]\nseeds: [a]\n"
    )
    assert problems == [
        "my.yaml:2:1: unknown key 'sead'; did you mean 'seeds'?",
        "my.yaml:4:3: unknown setting 'finetune.max_drop_rat'; did you mean 'finetune.max_drop_rate'?",
        "my.yaml:5:3: pretrain.epochs must be at least 1; got 0",
        "my.yaml:7:3: unknown setting 'model.widht'; did you mean 'model.width'?",
        "my.yaml:8:8: seeds must be a list of whole numbers from 0, e.g. [0, 1, 2]; got ['a']",
    ]


def test_a_wrong_value_in_a_grid_is_told_at_its_own_place(problems_of):
    problems = problems_of("study: s\ngrid:\n  model.width: [40, 42, 48, 50]\n  model.mfa: [true, maybe]\n")
    assert [p[: p.index(" must")] for p in problems] == [
        "my.yaml:3:21: model.width",
        "my.yaml:3:29: model.width",
        "my.yaml:4:21: model.mfa",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("study: s\ngrid: {seed: 1}\nstudy: t\n", "my.yaml:3:1: 'study' stands twice; first in line 1"),
        ("study: s\ngrid:\n  seed: 1\n  seed: 2\n", "my.yaml:4:3: 'seed' stands twice"),
        ("study: &a s\ngrid:\n  seed: [*a]\n", "my.yaml:3:10: not valid YAML: aliases"),
        ("study: s\ngrid:\n\tseed: 1\n", "my.yaml:3:1: not valid YAML"),
        ("study: s\ngrid: [\n", "my.yaml:3:1: not valid YAML"),
        ("", "my.yaml: the file is empty"),
        ("- a\n", "my.yaml:1:1: a search space must be a mapping"),
        ("study: s\n", "my.yaml: `grid` is missing"),
        ("grid: {seed: 1}\n", "my.yaml: `study` is missing"),
        ("study: ../up\ngrid: {seed: 1}\n", "my.yaml:1:8: study must be made of"),
        ("study: s\ngrid: {seed: []}\n", "my.yaml:2:14: seed has no values"),
        ("study: s\ngrid: {seed: 1}\nseeds: [1, 1]\n", "my.yaml:3:8: seeds must differ"),
        ("study: s\ngrid: {seed: !!python/name:os.getcwd ''}\n", "my.yaml:2:14: not a value"),
        ("study: s\ngrid: {seed: 1}\nmini: {grip: 1}\n", "my.yaml:3:8: unknown key 'mini.grip'; did you mean 'grid'?"),
        ("study: s\ngrid: {seed: 1}\nmini: {settings: {model.with: 1}}\n", "unknown setting 'model.with'"),
    ],
)
def test_a_malformed_file_is_told_in_a_line(problems_of, text, told):
    assert any(told in problem for problem in problems_of(text)), problems_of(text)


def test_bytes_that_are_no_text_and_giant_grids_are_refused(tmp_path, problems_of):
    (tmp_path / "bin.yaml").write_bytes(b"\x80\x81\x82")
    with pytest.raises(ConfigError, match="not a UTF-8 text"):
        load_space(str(tmp_path / "bin.yaml"))
    axes = "".join(
        f"  pretrain.{n}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" for n in ("epochs", "batch_size", "warmup_epochs")
    )
    (problem,) = problems_of(f"study: s\ngrid:\n{axes}  seed: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n")
    assert "11,000 trials" in problem


def test_an_unknown_study_names_the_nearest_or_all():
    with pytest.raises(ConfigError, match="unknown study 'table2_ablaton'; did you mean 'table2_ablation'"):
        load_space("table2_ablaton")
    with pytest.raises(ConfigError, match="known: figure3_widths, table2_ablation, table4_drop_rate"):
        load_space("zzz")
    with pytest.raises(ConfigError, match="no such search space file"):
        load_space("./missing.yaml")


def test_a_space_without_a_small_size_says_so(problems_of):
    assert problems_of("study: s\ngrid: {seed: 1}\n", mini=True) == [
        "my.yaml: has no `mini` size of itself; leave --mini away"
    ]


def test_the_shipped_studies_are_the_papers():
    table2 = load_space("table2_ablation").trials(seeds=[0])
    assert [t.system for t in table2] == [
        "BC-ResNet-40",
        "BC-Res2Net-40",
        "BC-Res2Net-40 w/ FPM",
        "BC-Res2Net-40 w/ MFA",
        "BC-Res2Net-40 w/ MFA & FPM",
    ]
    table4 = load_space("table4_drop_rate").trials(seeds=[0])
    assert [t.finetune.max_drop_rate if t.finetune else None for t in table4] == [None, 0.0, 0.5, 0.9, 0.99]
    figure3 = load_space("figure3_widths").trials(seeds=[0])
    assert {(t.model.block, t.model.width) for t in figure3} == {
        (block, width) for block in ("bcresnet", "bcres2net") for width in (40, 48, 56, 64, 72, 80)
    }


@pytest.mark.parametrize("name", ["figure3_widths", "table2_ablation", "table4_drop_rate"])
def test_every_shipped_study_has_three_seeds_and_a_small_size_with_one(name):
    assert name in shipped_spaces()
    assert load_space(name).seeds == (0, 1, 2)
    small = load_space(name, mini=True)
    assert len(small.seeds) == 1
    assert all(t.data.dataset.startswith("synthetic-") for t in small.trials())


@pytest.mark.parametrize("mini", [False, True])
def test_the_papers_rows_that_are_one_model_are_one_trial(mini):
    table2, table4, figure3 = (
        load_space(name, mini).trials(seeds=[0]) for name in ("table2_ablation", "table4_drop_rate", "figure3_widths")
    )
    assert table2[-1] == table4[0]
    assert all(t.start() == table4[0] for t in table4[1:])
    assert set(table2[:2]) <= set(figure3)
