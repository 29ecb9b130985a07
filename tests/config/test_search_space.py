"""Search spaces: YAML that means what people expect, errors with their place, plans of the paper's studies."""

import pytest

from asc_sweeps.config.request import Request, load_studies, parse_overrides
from asc_sweeps.config.settings import Setting
from asc_sweeps.config.space_file import load_sizes, shipped_spaces
from asc_sweeps.config.yaml_nodes import read_scalar
from asc_sweeps.errors import ConfigError


def load_space(name, mini=False):
    return load_sizes(name, mini)[mini]


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "study: s\nsettings: {model.width: 8, model: {width: 16}}\ngrid: {}\n",
            "duplicate key 'model.width' (first defined on line 2)",
        ),
        (
            "study: s\ngrid: {model: {width: 40}, model.width: [48]}\n",
            "duplicate key 'model.width' (first defined on line 2)",
        ),
        ("study: s\nsettings: {seed: 5}\ngrid: {}\nseeds: [1]\n", "my.yaml:2:12: `seed` conflicts with `seeds`"),
        ("study: s\ngrid: {seed: [0, 1]}\nseeds: [7, 8]\n", "my.yaml:2:15: `seed` conflicts with `seeds`"),
        (
            "study: s\ngrid:\n  finetune: null\n  finetune.epochs: [3]\n",
            "`finetune: null` turns finetune off, but 'finetune.epochs' turns it on",
        ),
        ("study: s\ngrid: []\n", "my.yaml:2:7: the grid is empty"),
        (
            "study: s\ngrid: {}\nmini: {settings: {model.width: 9}}\n",
            "my.yaml:3:19: model.width must be a multiple of 8",
        ),
        ("study: ~\ngrid: {}\n", "`study` is missing"),
        ("study: s\ngrid: {[1, 2]: 3}\n", "my.yaml:2:8: keys must be strings"),
        (
            "study: s\ngrid: {}\nwhere: model.widht > 8\n",
            "my.yaml:3:8: where: unknown setting 'model.widht'; did you mean",
        ),
        (
            "study: s\ngrid: {model.width: [8, 16]}\nwhere: model.width > 80\n",
            "`where` excludes every point of the grid",
        ),
        ("study: s\ngrid: {}\nsearch: {trials: 1, parameters: {model.mfa: [true]}}\n", "both `grid` and `search`"),
        ("study: s\nsettings: {data.validation_share: 0.0}\ngrid: {}\nscheduler: asha\n", "data.validation_share is 0"),
        ("study: s\ngrid: {}\nscheduler: hyperband\n", "my.yaml:3:12: scheduler must be asha"),
    ],
)
def test_what_would_be_overridden_in_silence_is_told(problems_of, text, told):
    assert any(told in problem for problem in problems_of(text)), problems_of(text)


def test_a_seed_in_one_block_of_a_grid_is_also_that_of_the_blocks_without_one(space_of):
    space = space_of("study: s\ngrid:\n  - {seed: 3, model.width: [8, 16]}\n  - {model.mfa: false}\n")
    assert [trial.seed for trial in space.trials()] == [3, 3, 3]


def test_a_seed_in_the_settings_is_the_seed(space_of):
    assert [t.seed for t in space_of("study: s\nsettings: {seed: 5}\ngrid: {}\n").trials()] == [5]
    assert [t.seed for t in space_of("study: s\nsettings: {seed: 5}\ngrid: {}\n").trials(seeds=[1, 2])] == [1, 2]


def test_a_point_turns_on_what_the_settings_turn_off_and_off_what_they_turn_on(space_of):
    (on,) = space_of("study: s\nsettings: {finetune: null}\ngrid: {finetune.epochs: [3]}\n").trials()
    assert on.finetune.epochs == 3
    (off,) = space_of("study: s\nsettings: {finetune.epochs: 3}\ngrid: {finetune: [null]}\n").trials()
    assert off.finetune is None


def test_where_leaves_senseless_points_out_before_they_are_checked(space_of):
    grid = "grid:\n  pretrain.epochs: [5, 20]\n  pretrain.warmup_epochs: [1, 10]\n"
    trials = space_of(f"study: s\n{grid}where: pretrain.warmup_epochs < pretrain.epochs\n").trials()
    assert [(t.pretrain.epochs, t.pretrain.warmup_epochs) for t in trials] == [(5, 1), (20, 1), (20, 10)]


SEARCH = """
study: s
search:
  trials: 4
  objectives: [validation_log_loss, macs]
  limits: {macs: 30000000}
  parameters:
    model:
      width: {low: 8, high: 80, step: 8}
    model.mfa: [true, false]
    finetune.reg_lambda: {low: 0.01, high: 1, log: true, when: not model.mfa}
  first:
    - {model.width: 40, model.mfa: true}
scheduler: {name: asha, grace_epochs: 2}
"""


def test_a_search_is_read_with_its_parameters_limits_and_first_points(space_of):
    space = space_of(SEARCH)
    width, mfa, reg = space.search.parameters
    assert (width.name, width.low, width.high, width.step, width.log) == ("model.width", 8, 80, 8, False)
    assert mfa.choices == (True, False)
    assert (type(reg.low), reg.high, reg.log, reg.when.text) == (float, 1.0, True, "not model.mfa")
    assert space.search.limits == {"macs": 30_000_000}
    assert [(s.name, s.value) for s in space.search.first[0]] == [("model.width", 40), ("model.mfa", True)]
    assert (space.scheduler.grace_epochs, space.scheduler.reduction) == (2, 3)
    assert space.trials() == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("trials: 4", "trials: 0", "search.trials must be at least 1; got 0"),
        ("trials: 4", "trails: 4", "unknown key 'search.trails'; did you mean 'trials'?"),
        ("[validation_log_loss, macs]", "[test_log_loss]", "search.objectives must be 'validation_log_loss', "),
        ("{macs: 30000000}", "{flops: 3}", "unknown key 'search.limits.flops'"),
        ("low: 8, high: 80, step: 8", "low: 10, high: 80, step: 8", "my.yaml:9:7: model.width must be a multiple of 8"),
        ("low: 8, high: 80, step: 8", "low: 80, high: 8", "low must be below high; got 80 and 8"),
        ("[true, false]", "[true, maybe]", "model.mfa must be true or false"),
        ("model.mfa: [true, false]", "model.maf: [true]", "unknown setting 'model.maf'"),
        ("not model.mfa", "model.maf", "when: unknown setting 'model.maf'"),
        (
            "model.width: 40, model.mfa: true",
            "model.width: 88",
            "must be one of the values in search.parameters; got 88",
        ),
        ("model.width: 40, model.mfa: true", "seed: 1", "seed is not among search.parameters"),
        ("model.mfa: [true, false]", "data.validation_share: [0.1, 0.2]", "cannot be searched"),
        ("trials: 4", "trials: 4\n  sampler: tpee", "did you mean 'tpe'?"),
        ("scheduler:", "seeds: [0, 1]\nscheduler:", "a search uses one seed"),
    ],
)
def test_a_mistake_in_a_search_is_told_at_its_place(problems_of, old, new, told):
    assert SEARCH.count(old) >= 1
    problems = problems_of(SEARCH.replace(old, new, 1))
    assert any(told in problem for problem in problems), problems


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
        'my.yaml:8:8: seeds must be a list of whole numbers from 0, e.g. [0, 1, 2]; got ["a"]',
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
        ("study: s\ngrid: {seed: 1}\nstudy: t\n", "my.yaml:3:1: duplicate key 'study' (first defined on line 1)"),
        ("study: s\ngrid:\n  seed: 1\n  seed: 2\n", "my.yaml:4:3: duplicate key 'seed'"),
        ("study: &a s\ngrid:\n  seed: [*a]\n", "my.yaml:3:10: invalid YAML: aliases"),
        ("study: s\ngrid:\n\tseed: 1\n", "my.yaml:3:1: invalid YAML"),
        ("study: s\ngrid: [\n", "my.yaml:3:1: invalid YAML"),
        ("", "my.yaml: the file is empty"),
        ("- a\n", "my.yaml:1:1: a search space must be a mapping"),
        ("study: s\n", "my.yaml: `grid` is missing"),
        ("grid: {seed: 1}\n", "my.yaml: `study` is missing"),
        ("study: ../up\ngrid: {seed: 1}\n", "my.yaml:1:8: study may contain only a-z"),
        ("study: s\ngrid: {seed: []}\n", "my.yaml:2:14: seed has no values"),
        ("study: s\ngrid: {seed: 1}\nseeds: [1, 1]\n", "my.yaml:3:8: seeds must not repeat a value"),
        ("study: s\ngrid: {seed: !!python/name:os.getcwd ''}\n", "my.yaml:2:14: invalid value"),
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
    with pytest.raises(
        ConfigError,
        match="known: device_generalisation, figure3_widths, known_devices_2025, optuna_architecture, optuna_finetune, precision",
    ):
        load_space("zzz")
    with pytest.raises(ConfigError, match="no such search space file"):
        load_space("./missing.yaml")


def test_a_space_without_a_small_size_says_so(problems_of):
    assert problems_of("study: s\ngrid: {seed: 1}\n", mini=True) == [
        "my.yaml: has no `mini` size; omit --mini, or add `mini` to the file"
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


def test_validation_is_needed_where_it_is_looked_at_whoever_turns_it_off(tmp_path):
    for words in ("search: {trials: 2, parameters: {model.mfa: [true, false]}}", "grid: {}\nscheduler: asha"):
        (tmp_path / "s.yaml").write_text(f"study: s\n{words}\n")
        asked = (str(tmp_path / "s.yaml"),)
        assert load_studies(Request(asked, mini=False))
        off = parse_overrides(["data.validation_share=0"], None)
        with pytest.raises(ConfigError, match=r"needs validation data, but data\.validation_share is 0"):
            load_studies(Request(asked, mini=False, overrides=off))
